using SdnEdge.Storage.Nbd;
using SdnEdge.Storage.Volumes;
using Xunit;

namespace SdnEdge.Storage.Tests.Nbd;

/// <summary>No managed memory for a request, on each way; and the meter sees an allocation where there is one.</summary>
public sealed class NbdAllocationTests : IDisposable
{
    private const int Requests = 20_000;

    // What the runtime allocates for itself when it compiles a loop anew that has run for long; it was seen to take 32, once in a process.
    private const long Runtime = 256;

    private readonly string _folder = Directory.CreateTempSubdirectory("nbd-alloc").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("write")]
    [InlineData("read")]
    [InlineData("structured read")]
    [InlineData("refused write")]
    [InlineData("zeroes")]
    [InlineData("block status")]
    public void A_request_costs_no_allocation(string way)
    {
        (long few, long many) = (Measure(way, 1000), Measure(way, 1000 + Requests));
        Assert.InRange(many - few, -Runtime, Runtime);
    }

    [Fact]
    public void The_meter_sees_one_allocation_a_request()
    {
        (long few, long many) = (Measure("write", 1000, leaks: true), Measure("write", 1000 + Requests, leaks: true));
        Assert.InRange(many - few, Requests * 24L, Requests * 200L);
    }

    // Bytes allocated by a session with so many requests; its scripts, and what every session costs, are the same whatever their number is.
    private long Measure(string way, int requests, bool leaks = false)
    {
        string path = Path.Combine(_folder, "image");
        File.WriteAllBytes(path, new byte[1 << 20]);
        using FileDevice file = FileDevice.Open(path);
        using var rig = new NbdRig(leaks ? new LeakyDevice(file) : file);
        byte[] opening = TransmissionTests.Opened(way is "structured read" or "block status", _ => { }).ToArray();
        byte[] one = One(way).ToArray();
        long allocated = 0;
        for (int round = 0; round < 2; round++)
        {
            // The first round compiles.
            var transport = new RepeatingTransport(opening, one, requests);
            long before = GC.GetAllocatedBytesForCurrentThread();
            rig.Server.Serve(transport, new NbdClient(NbdTransportKind.Unix), rig.Server.Policy(false));
            allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            Assert.Equal(requests, transport.Given);
            Assert.True(transport.Sent >= requests * 16L);
        }

        return allocated;
    }

    private static NbdScript One(string way) => way switch
    {
        "write" => new NbdScript().Write(4096, new byte[4096]),
        "read" or "structured read" => new NbdScript().Request(NbdCommand.Read, 8192, 4096),
        "refused write" => new NbdScript().Write(1 << 20, new byte[4096]),
        "zeroes" => new NbdScript().Request(NbdCommand.WriteZeroes, 0, 4096),
        "block status" => new NbdScript().Request(NbdCommand.BlockStatus, 0, 1 << 20),
        _ => throw new ArgumentOutOfRangeException(nameof(way)),
    };

    // Gives the same request again and again, many in one receive, and counts what is sent.
    private sealed class RepeatingTransport(byte[] opening, byte[] one, int requests) : NbdTransport
    {
        private int _opened, _at;

        public int Given { get; private set; }

        public long Sent { get; private set; }

        public override int Receive(Span<byte> into)
        {
            int put = 0;
            while (put < into.Length)
            {
                bool open = _opened < opening.Length;
                if (!open && Given == requests) break;
                byte[] from = open ? opening : one;
                int at = open ? _opened : _at, count = Math.Min(from.Length - at, into.Length - put);
                from.AsSpan(at, count).CopyTo(into[put..]);
                put += count;
                if (open)
                {
                    _opened += count;
                }
                else if ((_at += count) == one.Length)
                {
                    (_at, Given) = (0, Given + 1);
                }
            }

            return put;
        }

        public override bool Send(ReadOnlySpan<byte> bytes)
        {
            Sent += bytes.Length;
            return true;
        }

        public override void Signal()
        {
        }

        public override void WaitForSignal() => throw new InvalidOperationException("nothing was to wait");

        public override void ShutDown(bool receiveOnly)
        {
        }

        public override void Dispose()
        {
        }
    }

    private sealed class LeakyDevice(FileDevice file) : IBlockDevice
    {
        private object? _leak;

        public long Size => file.Size;

        public int MinimumBlock => file.MinimumBlock;

        public BlockFeatures Features => file.Features;

        public ValueTask<BlockResult> ReadAsync(long offset, Memory<byte> into, CancellationToken cancel) => file.ReadAsync(offset, into,
            cancel);

        public ValueTask<BlockResult> WriteAsync(long offset, ReadOnlyMemory<byte> bytes, BlockFlags flags, CancellationToken cancel)
        {
            _leak = new object();
            GC.KeepAlive(_leak);
            return file.WriteAsync(offset, bytes, flags, cancel);
        }

        public ValueTask<BlockResult> FlushAsync(CancellationToken cancel) => file.FlushAsync(cancel);

        public ValueTask<BlockResult> TrimAsync(long offset, long length, BlockFlags flags, CancellationToken cancel)
            => file.TrimAsync(offset, length, flags, cancel);

        public ValueTask<BlockResult> WriteZeroesAsync(long offset, long length, BlockFlags flags, CancellationToken cancel)
            => file.WriteZeroesAsync(offset, length, flags, cancel);

        public ValueTask<BlockResult> CacheAsync(long offset, long length, CancellationToken cancel) => file.CacheAsync(offset, length,
            cancel);

        public BlockResult Extents(long offset, long length, int limit, List<BlockExtent> into) => file.Extents(offset, length, limit,
            into);
    }
}
