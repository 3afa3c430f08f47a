using System.Globalization;
using SdnEdge.Storage.Nbd;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Storage.Tests.Nbd;

/// <summary>
/// Whole sessions with bytes changed, cut out, doubled, put in: none may crash, hang, or keep anything, and other connections go on.
/// SDNEDGE_NBD_MUTATIONS says how many (<c>bench store hostile</c> takes 1,000,000).
/// </summary>
public sealed class HostileBytesTests
{
    private const int Seed = 20261129;

    private static int Count => int.Parse(Environment.GetEnvironmentVariable("SDNEDGE_NBD_MUTATIONS") ?? "100000",
        CultureInfo.InvariantCulture);

    [Fact]
    public async Task Mutated_sessions_neither_crash_nor_hang_nor_leak()
    {
        using var hostile = new HostileSessions(Seed);
        int count = Count;
        await Task.Run(() => hostile.Run(count)).WaitAsync(TimeSpan.FromSeconds(600 + (count / 100.0)));
        Assert.Empty(hostile.Wrong());

        // An honest client is served as before.
        NbdAnswers answers = TransmissionTests.Simple(hostile.Rig, s => s.Write(0, [1, 2, 3]).Request(NbdCommand.Read, 0, 3));
        Assert.Equal(NbdError.None, answers.Reply().Error);
        Assert.Equal([1, 2, 3], answers.Reply(3).Data);
    }
}
