using SdnEdge.Storage.Nbd;

namespace SdnEdge.Storage.Tests.Nbd;

/// <summary>
/// Whole sessions with bytes changed, cut out, doubled, put in, one after the other at one server: the generator that the tests and the
/// bench share. A session that keeps a buffer or its transport ends it at once; the rest is judged at the end.
/// </summary>
internal sealed class HostileSessions : IDisposable
{
    private readonly MemoryDevice _device = new(256 << 10);
    private readonly byte[][] _sessions = Sessions();
    private readonly Random _random;
    private readonly int _seed;
    private int _count, _far;

    public HostileSessions(int seed)
    {
        (_seed, _random) = (seed, new Random(seed));
        Rig = new NbdRig(_device, options => options with { MaximumInFlight = 4 });
        Rig.Server.Add(new NbdExport("late", new LateDevice(64 << 10)));
        Rig.Server.Add(new NbdExport("coarse", new MemoryDevice(64 << 10, block: 512)));
    }

    /// <summary>The server that they meet.</summary>
    public NbdRig Rig { get; }

    /// <summary>So many more of them.</summary>
    /// <exception cref="InvalidOperationException">One has kept something.</exception>
    public void Run(int count)
    {
        for (int end = _count + count; _count < end; _count++)
        {
            byte[] input = Mutate(_sessions[_random.Next(_sessions.Length)], _random);
            int cut = _random.Next(4) switch { 0 => 1, 1 => 7, 2 => 100, _ => int.MaxValue };
            var transport = new ScriptedTransport(input, () => cut == int.MaxValue ? cut : _random.Next(1, cut + 1))
            {
                GoneAfter = _random.Next(10) == 0 ? _random.Next(400) : long.MaxValue,
            };
            Rig.Serve(transport);
            if (!transport.IsDisposed) throw new InvalidOperationException($"session {_count} of seed {_seed} kept its transport");
            if (Rig.Server.BuffersTaken != 0) throw new InvalidOperationException($"session {_count} of seed {_seed} kept buffers");
            if (transport.Output.Length > 400) _far++;
            if (_count % 1024 == 0) lock (Rig.Reports) Rig.Reports.RemoveAll(r => !r.Contains("fault", StringComparison.Ordinal));
            if (_count % 256 == 0) lock (_device.Calls) _device.Calls.Clear();
        }
    }

    /// <summary>What is not as it must be after them; empty: all is well.</summary>
    public IReadOnlyList<string> Wrong()
    {
        NbdCounters counters = Rig.Server.Counters();
        List<string> wrong = [.. Rig.Reports.Where(report => report.Contains("fault in the server", StringComparison.Ordinal))];
        void Must(bool holds, string what)
        {
            if (!holds) wrong.Add(what);
        }

        Must(Rig.Server.Accepted == _count, $"{Rig.Server.Accepted} sessions of {_count} were accepted");
        Must(Rig.Server.Connections.Count == 0, $"{Rig.Server.Connections.Count} connections are left");
        Must(counters.DeviceFaults == 0, $"{counters.DeviceFaults} faults of devices");

        // The mutations have left enough of it that requests were reached, and enough wrong that connections were ended for it.
        Must(_far > _count / 10, $"only {_far} of {_count} came far");
        Must(counters.Writes > _count / 10, $"only {counters.Writes} writes");
        Must(counters.Reads > _count / 10, $"only {counters.Reads} reads");
        Must(counters.Errors > _count / 50, $"only {counters.Errors} errors");
        Must(counters.ProtocolErrors > _count / 20, $"only {counters.ProtocolErrors} protocol errors");
        return wrong;
    }

    public void Dispose() => Rig.Dispose();

    private static byte[][] Sessions()
    {
        byte[] data = TestBytes.Bytes(5000, 1);
        return
        [
            NbdScript.Opened(structured: false, s => s.Write(0, data).Request(NbdCommand.Read, 0, 5000)
                .Request(NbdCommand.Flush, 0, 0).Request(NbdCommand.Trim, 0, 4096).Disconnect()).ToArray(),
            NbdScript.Opened(structured: true, s => s.Write(4096, data, NbdCommandFlags.Fua)
                .Request(NbdCommand.Read, 4096, 5000, NbdCommandFlags.DontFragment)
                .Request(NbdCommand.WriteZeroes, 0, 8192, NbdCommandFlags.NoHole).Request(NbdCommand.BlockStatus, 0, 65536)
                .Request(NbdCommand.BlockStatus, 0, 4096, NbdCommandFlags.RequestOne).Request(NbdCommand.Cache, 0, 65536)
                .Disconnect()).ToArray(),
            new NbdScript().Flags().Option((uint)NbdOption.ExtendedHeaders).Structured().ListContext("vol").SetContext("vol",
                "base:allocation")
                .Option((uint)NbdOption.List).Info("vol", 0, 1, 2, 3).Go("vol", 3).Write(1, [1]).Request(NbdCommand.Read, 0, 512)
                .Request(NbdCommand.Read, 0, 262144).ToArray(),
            new NbdScript().Flags(1).ExportName("vol").Write(0, data).Request(NbdCommand.Read, 100, 100).Disconnect().ToArray(),
            new NbdScript().Flags().Option((uint)NbdOption.StartTls).Structured().Go("late").Write(0, data).Write(5000, data)
                .Request(NbdCommand.Read, 0, 4096).Request(NbdCommand.Flush, 0, 0).Request(NbdCommand.Read, 0, 8192).Disconnect().ToArray(),
            new NbdScript().Flags().Go("coarse", 3).Write(512, new byte[1024]).Request(NbdCommand.Read, 512, 512)
                .Request(NbdCommand.Read, 1, 511).Disconnect().ToArray(),
            new NbdScript().Flags().Info("nothing").Option((uint)NbdOption.Abort).ToArray(),
        ];
    }

    private static readonly uint[] s_interesting =
        [0, 1, 2, 3, 7, 8, 255, 256, 4095, 4096, 65535, 65536, 65537, 1 << 20, (1 << 20) + 1, 64 << 20, 0x7fffffff, 0x80000000,
            uint.MaxValue];

    private static byte[] Mutate(byte[] session, Random random)
    {
        List<byte> bytes = [.. session];
        for (int changes = random.Next(1, 5); changes > 0 && bytes.Count > 8; changes--)
        {
            int at = random.Next(bytes.Count - 4);
            switch (random.Next(7))
            {
                case 0: bytes[at] ^= (byte)(1 << random.Next(8)); break;
                case 1: bytes[at] = (byte)random.Next(256); break;
                case 2:
                    byte[] word = NbdScript.U32(s_interesting[random.Next(s_interesting.Length)]);
                    for (int i = 0; i < 4; i++) bytes[at + i] = word[i];
                    break;
                case 3: bytes.RemoveRange(at, random.Next(1, Math.Min(bytes.Count - at, 40))); break;
                case 4: bytes.InsertRange(at, TestBytes.Bytes(random.Next(1, 40), random.Next())); break;
                case 5: bytes.InsertRange(at, bytes.GetRange(at, random.Next(1, Math.Min(bytes.Count - at, 60)))); break;
                default: bytes.RemoveRange(at, bytes.Count - at); break;
            }
        }

        return [.. bytes];
    }
}
