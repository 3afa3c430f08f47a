using SdnEdge.Core.Bgp;
using SdnEdge.Testing.Bgp;
using Xunit;

namespace SdnEdge.Core.Tests.Bgp.Hostile;

/// <summary>Tests that look at the memory of the whole process: nothing else may run beside them.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class Alone
{
    /// <summary>Name of the collection.</summary>
    public const string Name = "alone";
}

/// <summary>What a peer can make us keep.</summary>
[Collection(Alone.Name)]
public sealed class HostileMemoryTests
{
    [Fact]
    public void A_flood_of_updates_for_the_same_routes_leaves_no_memory_behind()
    {
        var session = new RawSession(true);
        session.Connect();

        // Caches are filled and emptied in turns of 16384 sets, and the table of sets sweeps itself: from then on it is level.
        Flood(4 * 16_384);
        long before = Settled();
        Flood(2 * 16_384);
        long grown = Settled() - before;
        Assert.InRange(grown, long.MinValue, 1_000_000);
        Assert.Equal(2, session.Peer.Origin.Prefixes);

        void Flood(int count)
        {
            byte[] update = new UpdateSketch(true).Add(UpdateSketch.Both, AttributeCode.Communities, "00000000 00000000").Build();
            int at = update.Length - 8 - 8;
            for (int i = 0; i < count; i++)
            {
                Random.Shared.NextBytes(update.AsSpan(at, 8));
                session.Receive(update);
                session.Turn();
                session.ToObserver.Clear();
            }
        }

        static long Settled()
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            GC.Collect();
            return GC.GetTotalMemory(true);
        }
    }
}
