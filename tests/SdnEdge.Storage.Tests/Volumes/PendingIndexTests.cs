using SdnEdge.Storage.Volumes;
using Xunit;

namespace SdnEdge.Storage.Tests.Volumes;

/// <summary>The index against an array that has for each sector the position of its newest record.</summary>
public sealed class PendingIndexTests
{
    private const int Size = 64 * 4096;
    private const long InImage = -2;

    [Fact]
    public void Every_sector_comes_from_its_newest_record_while_records_are_added_and_removed()
    {
        for (int seed = 1; seed <= 200; seed++)
        {
            var random = new Random(seed);
            var index = new PendingIndex(int.MaxValue);
            List<(ulong Sequence, int Offset, int Length, long Position)> records = [];
            List<PendingIndex.Part> parts = [];
            ulong next = 1, applied = 0;
            for (int step = 0; step < 300; step++)
            {
                if (random.Next(4) != 0)
                {
                    int length = 512 * (1 + random.Next(random.Next(10) == 0 ? 600 : 20));
                    length = Math.Min(length, Size);
                    int offset = 512 * random.Next(((Size - length) / 512) + 1);
                    long position = random.Next(4) == 0 ? -1 : (long)next * 10_000_000;
                    index.Add(next, offset, length, position);
                    records.Add((next++, offset, length, position));
                }
                else if (random.Next(3) == 0)
                {
                    applied = Math.Min(next - 1, applied + (ulong)random.Next(20));
                    index.RemoveThrough(applied);
                    records.RemoveAll(record => record.Sequence <= applied);
                    Assert.Equal(records.Count == 0, index.IsEmpty);
                }

                int from = 512 * random.Next(Size / 512), size = Math.Min(512 * (1 + random.Next(64)), Size - from);
                // One number a sector: nothing is smaller.
                long[] expected = new long[size / 512], actual = new long[size / 512];
                Array.Fill(expected, InImage);
                Array.Fill(actual, InImage);
                foreach ((_, int offset, int length, long position) in records)
                {
                    for (int at = Math.Max(from, offset); at < Math.Min(from + size, offset + length); at += 512)
                        expected[(at - from) / 512] = position < 0 ? -1 : position + (at - offset);
                }

                bool image = index.Find(from, size, parts);
                foreach (var part in parts)
                {
                    for (int i = 0; i < part.Length; i += 512) actual[(part.At + i) / 512] = part.Position < 0 ? -1 : part.Position + i;
                }

                Assert.True(expected.AsSpan().SequenceEqual(actual), $"seed {seed}, step {step}");
                // It may be read for nothing where several records cover a block together.
                Assert.True(image || !expected.Contains(InImage));
            }
        }
    }
}
