using SdnEdge.Core.Replication;
using SdnEdge.Storage.Service;
using SdnEdge.Storage.Volumes;
using Xunit;

namespace SdnEdge.Storage.Tests.Service;

/// <summary>When an owner's requests are answered.</summary>
public sealed class AnswerGateTests
{
    // Two flushes with nothing written between them have one record: the second one was once answered as if it were a write.
    [Fact]
    public async Task Flushes_with_the_same_record_all_wait_for_the_replica_in_semantic_mode()
    {
        var gate = new AnswerGate { Mode = ReplicationMode.Semantic };
        var barrier = new LogRecord(5, 1, LogRecordKind.Barrier, 0, 0, 0, 0);
        for (int i = 0; i < 3; i++)
            Assert.Equal(AckRule.LocallyDurable | AckRule.ReplicaDurable, gate.RuleFor(barrier, durable: true));
        gate.Open(writeLimit: 5, barrierLimit: 4);
        Task<BlockResult>[] flushes = [.. Enumerable.Range(0, 3).Select(_ => gate.ReplicaDurableAsync(5, default).AsTask())];
        Assert.All(flushes, f => Assert.False(f.IsCompleted));
        gate.Open(writeLimit: 5, barrierLimit: 5);
        Assert.All(await Task.WhenAll(flushes), r => Assert.Equal(BlockResult.Ok, r));
        Assert.Equal(AckRule.Appended, gate.RuleFor(barrier with { Sequence = 6, Kind = LogRecordKind.Write }, durable: false));
    }
}
