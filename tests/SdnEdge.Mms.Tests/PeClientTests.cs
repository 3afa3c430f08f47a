using SdnEdge.Client;
using SdnEdge.Core.Api;
using Xunit;

namespace SdnEdge.Mms.Tests;

public sealed class PeClientTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-mms-").FullName;
    private FakePe _pe = null!;
    private PeClient _client = null!;

    public async Task InitializeAsync()
    {
        _pe = await FakePe.StartAsync("pe-a", "10.255.0.1", _folder, new Network());
        _client = PeClient.For("unix:" + _pe.Socket);
    }

    public async Task DisposeAsync()
    {
        _client.Dispose();
        await _pe.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task A_refusal_becomes_an_exception_that_says_what_would_be_right()
    {
        ApiProblemException e =
            await Assert.ThrowsAsync<ApiProblemException>(() => _client.SignalAsync("m", SignalKind.Prepare, new SignalRequest(1)));
        Assert.Equal(400, e.Problem.Status);
        Assert.Equal("/problems/bad-request", e.Problem.Type);
        Assert.StartsWith("pe-a: prepare of 'm'", e.Message, StringComparison.Ordinal);
        Assert.Contains("\n  /role is missing; send source to the PE that has the server now", e.Message, StringComparison.Ordinal);
        e = await Assert.ThrowsAsync<ApiProblemException>(() => _client.SignalAsync("m", SignalKind.Switch, new SignalRequest(1)));
        Assert.Equal(404, e.Problem.Status);
    }

    [Fact]
    public async Task What_an_answer_is_to_wait_for_is_asked_of_the_PE()
    {
        MigrationWait[] waits =
        [
            new(), new(TimeSpan.FromMilliseconds(250), After: 7), new(TimeSpan.FromMilliseconds(250), Until: MigrationCondition.HoldEmpty),
        ];
        foreach (MigrationWait wait in waits)
            await Assert.ThrowsAsync<ApiProblemException>(() => _client.MigrationAsync("m", wait));
        Assert.Equal(["", "?after=7&waitMs=250", "?until=hold-empty&waitMs=250"], _pe.Queries);
    }

    [Fact]
    public async Task A_socket_that_is_not_there_says_where_it_was_looked_for()
    {
        using PeClient nobody = PeClient.ForUnixSocket(Path.Combine(_folder, "nobody.sock"));
        ApiUnreachableException e = await Assert.ThrowsAsync<ApiUnreachableException>(() => nobody.NodeAsync());
        Assert.Contains("cannot reach nobody at " + _folder, e.Message, StringComparison.Ordinal);
        Assert.Contains("is it running", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_lost_answer_is_told_apart_from_a_refusal()
    {
        _pe.LoseAnswers = 1;
        await Assert.ThrowsAsync<ApiUnreachableException>(() => _client.SignalAsync("m", SignalKind.Abort, new SignalRequest(1)));
    }

    [Fact]
    public async Task An_answer_that_is_no_problem_document_is_still_readable()
    {
        ApiProblemException e = await Assert.ThrowsAsync<ApiProblemException>(() => _client.TextAsync("/plain"));
        Assert.Contains("HTTP status 403", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Events_come_in_order_and_resume_after_a_sequence_number()
    {
        var seen = new List<long>();
        await foreach (EventRecord record in _client.EventsAsync(after: 41)) seen.Add(record.Sequence);
        Assert.Equal([42, 43, 44], seen);
    }
}
