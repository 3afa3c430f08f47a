using SdnEdge.Core.Wire;
using SdnEdge.Linux;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Pe;

/// <summary>A client that sends numbered packets to the server, which is at A or at B of <see cref="TwoPes"/>.</summary>
internal sealed class Traffic : IDisposable
{
    private static readonly MacAddress Gateway = MacAddress.Parse("02:00:00:00:a0:03");
    private static readonly IpAddress Server = IpAddress.Parse("10.1.1.10");
    private readonly TestHost _client, _atA, _atB;
    private readonly Arrivals _arrivals = new();

    public Traffic(TwoPes two)
    {
        _client = new TestHost(two.Client, "10.2.3.10", "02:00:00:00:0c:10");
        _atA = new TestHost(two.ServerAtA, "10.1.1.10", "02:00:00:00:01:10") { Taken = _arrivals.Tell };
        _atB = new TestHost(two.ServerAtB, "10.1.1.10", "02:00:00:00:01:10", live: false) { Taken = _arrivals.Tell };
    }

    public long Sent { get; private set; }

    public int Missed => _atA.Missed + _atB.Missed;

    public IEnumerable<long> Received => _atA.Received.Concat(_atB.Received);

    /// <summary>Sends so many packets, about ten in a millisecond.</summary>
    public async Task RunAsync(int packets)
    {
        long next = Monotonic.Now;
        for (int i = 0; i < packets; i++)
        {
            _client.Send(Gateway, Server, Sent++);
            next += 100_000;
            if (next > Monotonic.Now + 1_000_000) await Task.Delay(1);   // the sender's pace
        }
    }

    /// <summary>The server goes down at A: after the switch is acknowledged nothing more may come.</summary>
    public void PauseServer() => _atA.Live = false;

    /// <summary>Waits until all that was sent has arrived somewhere; says what is missing, and where it was dropped, when it does
    /// not.</summary>
    public async Task ArrivesAsync(TwoPes two)
    {
        if (await _arrivals.UntilAsync(() => Received.Count() >= Sent, Patience.Time)) return;
        string missing = string.Join(",", Enumerable.Range(0, (int)Sent).Select(i => (long)i).Except(Received).Take(50));
        Assert.Fail($"of {Sent} missing: {missing}; dropped at A: {await two.ApiA.GetStringAsync("v1/drops")}, at B: "
            + $"{await two.ApiB.GetStringAsync("v1/drops")}, not live: {Missed}");
    }

    public void ResumeServerAtB() => _atB.Live = true;

    /// <summary>Whether the server at A answers ARP; it takes packets all the same.</summary>
    public bool ServerAtAAnswers
    {
        set => _atA.AnswersArp = value;
    }

    public void Dispose()
    {
        _client.Dispose();
        _atA.Dispose();
        _atB.Dispose();
        _arrivals.Dispose();
    }
}
