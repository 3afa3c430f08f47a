using System.Globalization;
using SdnEdge.Storage.Nbd;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Storage.Tests.Nbd;

/// <summary>
/// Whole sessions with bytes changed, cut out, doubled, put in: none may crash, hang, or keep anything, and other connections go on.
/// SDNEDGE_NBD_MUTATIONS says how many (a bench takes 1,000,000).
/// </summary>
public sealed class HostileBytesTests
{
    private const int Seed = 20261129;

    private static int Count => int.Parse(Environment.GetEnvironmentVariable("SDNEDGE_NBD_MUTATIONS") ?? "100000",
        CultureInfo.InvariantCulture);

    [Fact]
    public async Task Mutated_sessions_neither_crash_nor_hang_nor_leak()
    {
        byte[][] sessions = Sessions();
        var device = new MemoryDevice(256 << 10);
        using var rig = new NbdRig(device, options => options with { MaximumInFlight = 4 });
        rig.Server.Add(new NbdExport("late", new LateDevice(64 << 10)));
        rig.Server.Add(new NbdExport("coarse", new MemoryDevice(64 << 10, block: 512)));
        int transmission = 0, count = Count;
        Task run = Task.Run(() =>
        {
            var random = new Random(Seed);
            for (int i = 0; i < count; i++)
            {
                byte[] input = Mutate(sessions[random.Next(sessions.Length)], random);
                int cut = random.Next(4) switch { 0 => 1, 1 => 7, 2 => 100, _ => int.MaxValue };
                var transport = new ScriptedTransport(input, () => cut == int.MaxValue ? cut : random.Next(1, cut + 1))
                {
                    GoneAfter = random.Next(10) == 0 ? random.Next(400) : long.MaxValue,
                };
                rig.Serve(transport);
                if (!transport.IsDisposed) throw new InvalidOperationException($"session {i} of seed {Seed} kept its transport");
                if (rig.Server.BuffersTaken != 0) throw new InvalidOperationException($"session {i} of seed {Seed} kept buffers");
                if (transport.Output.Length > 400) transmission++;
                if (i % 1024 == 0) lock (rig.Reports) rig.Reports.RemoveAll(r => !r.Contains("fault", StringComparison.Ordinal));
                if (i % 256 == 0) lock (device.Calls) device.Calls.Clear();
            }
        });
        await run.WaitAsync(TimeSpan.FromSeconds(600 + (count / 100.0)));
        Assert.Equal(count, rig.Server.Accepted);
        Assert.Empty(rig.Server.Connections);
        Assert.DoesNotContain(rig.Reports, report => report.Contains("fault in the server", StringComparison.Ordinal));
        Assert.Equal(0, rig.Server.Counters().DeviceFaults);

        // The mutations have left enough of it that requests were reached, and enough wrong that connections were ended for it.
        NbdCounters counters = rig.Server.Counters();
        Assert.True(transmission > count / 10, $"{transmission} of {count} came far");
        Assert.True(counters.Writes > count / 10, $"{counters.Writes} writes");
        Assert.True(counters.Reads > count / 10, $"{counters.Reads} reads");
        Assert.True(counters.Errors > count / 50, $"{counters.Errors} errors");
        Assert.True(counters.ProtocolErrors > count / 20, $"{counters.ProtocolErrors} protocol errors");

        // An honest client is served as before.
        NbdAnswers answers = TransmissionTests.Simple(rig, s => s.Write(0, [1, 2, 3]).Request(NbdCommand.Read, 0, 3));
        Assert.Equal(NbdError.None, answers.Reply().Error);
        Assert.Equal([1, 2, 3], answers.Reply(3).Data);
    }

    private static byte[][] Sessions()
    {
        byte[] data = TransmissionTests.Bytes(5000, 1);
        return
        [
            TransmissionTests.Opened(structured: false, s => s.Write(0, data).Request(NbdCommand.Read, 0, 5000)
                .Request(NbdCommand.Flush, 0, 0).Request(NbdCommand.Trim, 0, 4096).Disconnect()).ToArray(),
            TransmissionTests.Opened(structured: true, s => s.Write(4096, data, NbdCommandFlags.Fua)
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
                case 4: bytes.InsertRange(at, TransmissionTests.Bytes(random.Next(1, 40), random.Next())); break;
                case 5: bytes.InsertRange(at, bytes.GetRange(at, random.Next(1, Math.Min(bytes.Count - at, 60)))); break;
                default: bytes.RemoveRange(at, bytes.Count - at); break;
            }
        }

        return [.. bytes];
    }
}
