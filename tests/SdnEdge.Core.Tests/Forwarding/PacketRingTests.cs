using FsCheck.Xunit;
using SdnEdge.Core.Forwarding;
using Xunit;

namespace SdnEdge.Core.Tests.Forwarding;

/// <summary>The native ring against a queue of arrays.</summary>
public sealed class PacketRingTests
{
    [Property(MaxTest = 60)]
    public void Is_a_bounded_first_in_first_out_queue(int[] steps, int seed)
    {
        Random random = new(seed);
        long maxBytes = random.Next(1, 300_000);
        int maxPackets = random.Next(1, 60);
        using PacketRing ring = new(256 << 10, maxBytes, maxPackets);
        using PacketBatch from = new(), to = new();
        Queue<(byte[] Bytes, VnetHeader Vnet, long At)> model = new();

        foreach (int step in steps.Concat(Enumerable.Range(0, 300).Select(_ => random.Next())))
        {
            if (step % 3 != 0)
            {
                int length = random.Next(4) == 0 ? random.Next(60_000, PacketBatch.MaxFrameBytes) : random.Next(0, 2000);
                byte[] bytes = new byte[length];
                random.NextBytes(bytes);
                VnetHeader vnet = new() { Flags = (byte)random.Next(4), CsumStart = (ushort)random.Next() };
                from.Count = 0;
                Assert.True(from.TryAdd(bytes, vnet));
                bool fits = model.Count < maxPackets && model.Sum(m => (long)m.Bytes.Length) + length <= maxBytes;
                Assert.Equal(fits, ring.TryPush(from[0], step));
                if (fits) model.Enqueue((bytes, vnet, step));
            }
            else if (model.Count > 0)
            {
                Assert.Equal(model.Peek().At, ring.OldestNs);
                (byte[] bytes, VnetHeader vnet, _) = model.Dequeue();
                Assert.Equal(bytes, ring.Oldest.ToArray());
                if (step % 2 == 0)
                {
                    ring.Drop();
                }
                else
                {
                    to.Count = 0;
                    Assert.True(ring.TryPop(to));
                    Assert.Equal(bytes, to[0].Span.ToArray());
                    Assert.Equal(vnet, to[0].Vnet);
                }
            }

            Assert.Equal((model.Count, model.Sum(m => (long)m.Bytes.Length)), (ring.Count, ring.Bytes));
        }
    }
}
