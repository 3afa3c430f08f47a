using System.Net.Sockets;
using SdnEdge.Storage.Nbd;
using SdnEdge.Storage.Volumes;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Storage.Tests.Nbd;

/// <summary>The cases of the reference implementation's tester, over a socket and a file: handshake, oversize, read, write, write with
/// flush and FUA, and an integrity trace of many requests in flight on several connections.</summary>
public sealed class NbdTesterTests : IDisposable
{
    private const int Size = 16 << 20;

    private readonly string _folder = Directory.CreateTempSubdirectory("nbdtester").FullName;
    private readonly FileDevice _device;
    private readonly NbdServer _server;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _run;

    public NbdTesterTests()
    {
        string image = Path.Combine(_folder, "image");
        using (FileStream file = File.Create(image)) file.SetLength(Size);
        _device = FileDevice.Open(image);
        var options = new NbdServerOptions { Listen = [new NbdUnixListen(Path.Combine(_folder, "s"))] };
        _server = new NbdServer(options, new NbdExport("vol", _device));
        _server.Bind();
        _run = _server.RunAsync(_stop.Token);
    }

    public void Dispose()
    {
        _stop.Cancel();
        _run.Wait(Patience.Time);
        _server.Dispose();
        _device.Dispose();
        _stop.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void Handshake()
    {
        using var client = new TesterClient(_folder);
        client.Send(new NbdScript().Flags().Option((uint)NbdOption.List).Option((uint)NbdOption.Abort));
        Assert.Equal(("vol", ""), NbdAnswers.Server(client.OptionReply().Data));
        Assert.Equal(NbdOptionReply.Ack, client.OptionReply().Type);
        Assert.Equal(NbdOptionReply.Ack, client.OptionReply().Type);
        Assert.True(client.IsAtEnd);
    }

    [Fact]
    public void Oversize()
    {
        using TesterClient client = Opened();
        foreach (uint length in new uint[] { (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 16 << 20 })
        {
            client.Send(new NbdScript().Request(NbdCommand.Read, 0, length));
            Assert.Equal(new byte[length], client.Reply((int)length).Data);
        }

        client.Send(new NbdScript().Request(NbdCommand.Read, 0, 65 << 20).Request(NbdCommand.Read, 0, 1));
        Assert.Equal(NbdError.Invalid, client.Reply(0).Error);
        Assert.Equal(NbdError.None, client.Reply(1).Error);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void Throughput(bool write, bool flush)
    {
        const int Block = 1024;
        using TesterClient client = Opened();
        byte[] data = TestBytes.Bytes(Size, 21);
        int blocks = Size / Block / 4;
        for (int i = 0; i < blocks; i++)
        {
            var script = new NbdScript();
            NbdCommandFlags flags = flush && i % 64 == 1 ? NbdCommandFlags.Fua : NbdCommandFlags.None;
            if (write) script.Write((ulong)(i * Block), data.AsSpan(i * Block, Block), flags);
            else script.Request(NbdCommand.Read, (ulong)(i * Block), Block);
            if (flush && i % 64 == 0) script.Request(NbdCommand.Flush, 0, 0);
            client.Send(script);
        }

        int replies = blocks + (flush ? (blocks + 63) / 64 : 0);
        for (int i = 0; i < replies; i++) Assert.Equal(NbdError.None, client.Reply(write ? 0 : Block).Error);
        NbdCounters counters = _server.Counters();
        Assert.Equal(write ? blocks : 0, counters.Writes);
        Assert.Equal(write ? 0 : blocks, counters.Reads);
        Assert.Equal(flush ? (blocks + 63) / 64 : 0, counters.Flushes);
        if (!write) return;
        client.Send(new NbdScript().Request(NbdCommand.Read, 0, (uint)(blocks * Block)));
        Assert.Equal(data[..(blocks * Block)], client.Reply(blocks * Block).Data);
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(1, 64)]
    [InlineData(4, 16)]
    public void Integrity_trace(int connections, int depth)
    {
        const int Block = 4096, Steps = 6000;
        byte[] model = new byte[Size];
        var random = new Random((connections * 1000) + depth);
        TesterClient[] clients = [.. Enumerable.Range(0, connections).Select(_ => Opened())];
        var inFlight = new Queue<(TesterClient Client, byte[]? Expected, int First, int Count)>[connections];
        for (int i = 0; i < connections; i++) inFlight[i] = new();
        HashSet<int> busy = [];
        for (int step = 0; step < Steps; step++)
        {
            int c = random.Next(connections);
            if (inFlight[c].Count >= depth) Take(c);
            int count = random.Next(10) == 0 ? random.Next(1, 65) : random.Next(1, 5), first = random.Next((Size / Block) - count);

            // What is in flight does not overlap: the order of such requests is nobody's.
            while (Enumerable.Range(first, count).Any(busy.Contains)) Take(Array.FindIndex(inFlight, queue => queue.Count > 0));
            var script = new NbdScript();
            byte[]? expected = null;
            int kind = random.Next(10);
            if (kind < 5)
            {
                byte[] data = TestBytes.Bytes(count * Block, step);
                data.CopyTo(model, first * Block);
                script.Write((ulong)(first * Block), data, random.Next(50) == 0 ? NbdCommandFlags.Fua : NbdCommandFlags.None);
            }
            else if (kind < 6)
            {
                model.AsSpan(first * Block, count * Block).Clear();
                script.Request(NbdCommand.WriteZeroes, (ulong)(first * Block), (uint)(count * Block));
            }
            else if (kind == 6 && step % 10 == 0)
            {
                script.Request(NbdCommand.Flush, 0, 0);
                count = 0;
            }
            else
            {
                expected = model.AsSpan(first * Block, count * Block).ToArray();
                script.Request(NbdCommand.Read, (ulong)(first * Block), (uint)(count * Block));
            }

            for (int i = 0; i < count; i++) busy.Add(first + i);
            clients[c].Send(script);
            inFlight[c].Enqueue((clients[c], expected, first, count));
        }

        for (int c = 0; c < connections; c++)
        {
            while (inFlight[c].Count > 0) Take(c);
        }

        clients[0].Send(new NbdScript().Request(NbdCommand.Read, 0, Size));
        Assert.Equal(model, clients[0].Reply(Size).Data);
        foreach (TesterClient client in clients) client.Dispose();

        void Take(int c)
        {
            (TesterClient client, byte[]? expected, int first, int count) = inFlight[c].Dequeue();
            NbdAnswer answer = client.ReplyInOrder();
            Assert.Equal(NbdError.None, answer.Error);
            if (expected is not null) Assert.Equal(expected, answer.Data);
            for (int i = 0; i < count; i++) busy.Remove(first + i);
        }
    }

    private TesterClient Opened()
    {
        var client = new TesterClient(_folder);
        client.Send(new NbdScript().Flags().Go("vol"));
        while (client.OptionReply().Type != NbdOptionReply.Ack)
        {
            // Infos.
        }

        return client;
    }

    /// <summary>A client that reads replies one by one; each request has a cookie of its own.</summary>
    private sealed class TesterClient : IDisposable
    {
        private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified)
        {
            ReceiveTimeout = Patience.Seconds * 1000,
        };

        private readonly Dictionary<ulong, NbdAnswer> _early = [];
        private readonly Dictionary<ulong, int> _reads = [];
        private readonly System.Collections.Concurrent.BlockingCollection<byte[]> _outgoing = [];
        private readonly Thread _sender;
        private ulong _sent, _taken;

        public TesterClient(string folder)
        {
            // A server that waits to send must not meet a client that waits to send.
            _sender = new Thread(SendAll) { IsBackground = true };
            _sender.Start();
            _socket.Connect(new UnixDomainSocketEndPoint(Path.Combine(folder, "s")));
            new NbdAnswers(Take(18)).Greeting();
        }

        public bool IsAtEnd => _socket.Receive(new byte[1]) == 0;

        public void Send(NbdScript script)
        {
            byte[] bytes = script.ToArray();
            if (bytes.Length >= 4 && System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(bytes) == NbdProtocol.RequestMagic)
            {
                Number(bytes);
            }

            _outgoing.Add(bytes);
        }

        public (uint Option, NbdOptionReply Type, byte[] Data) OptionReply()
        {
            byte[] header = Take(20);
            int length = (int)System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(16));
            return new NbdAnswers([.. header, .. Take(length)]).OptionReply();
        }

        public NbdAnswer Reply(int length)
        {
            NbdAnswer bare = new NbdAnswers(Take(16)).Reply();
            return bare.Error == NbdError.None ? bare with { Data = Take(length) } : bare;
        }

        /// <summary>The reply to the next request in the order in which they were sent, whatever order the server answers in.</summary>
        public NbdAnswer ReplyInOrder()
        {
            ulong wanted = ++_taken;
            while (true)
            {
                if (_early.Remove(wanted, out NbdAnswer? early)) return early;
                NbdAnswer bare = new NbdAnswers(Take(16)).Reply();
                int follows = _reads.Remove(bare.Cookie, out int bytes) && bare.Error == NbdError.None ? bytes : 0;
                _early.Add(bare.Cookie, bare with { Data = Take(follows) });
            }
        }

        // Cookies counted over the whole connection, and how long the reads are.
        private void Number(byte[] bytes)
        {
            for (int at = 0; at < bytes.Length;)
            {
                NbdRequest request = NbdRequest.Read(bytes.AsSpan(at)) with { Cookie = ++_sent };
                request.Write(bytes.AsSpan(at));
                if (request.Command == NbdCommand.Read) _reads[request.Cookie] = (int)request.Length;
                at += NbdRequest.Size + (request.Command == NbdCommand.Write ? (int)request.Length : 0);
            }
        }

        public void Dispose()
        {
            _outgoing.CompleteAdding();
            _sender.Join();
            _socket.Dispose();
            _outgoing.Dispose();
        }

        private void SendAll()
        {
            try
            {
                foreach (byte[] bytes in _outgoing.GetConsumingEnumerable()) _socket.Send(bytes);
            }
            catch (SocketException)
            {
                // Whoever waits for the reply is told.
            }
        }

        private byte[] Take(int count)
        {
            byte[] bytes = new byte[count];
            for (int got = 0; got < count;)
            {
                int more = _socket.Receive(bytes, got, count - got, SocketFlags.None);
                if (more == 0) throw new EndOfStreamException($"{count} bytes were awaited, {got} came");
                got += more;
            }

            return bytes;
        }
    }
}
