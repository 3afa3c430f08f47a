using System.Diagnostics;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Core.Tests.Wire;

/// <summary>
/// Golden frames in pcaps/: what our emitters make today is what they made when somebody looked, and what an independent
/// dissector (tshark) reads. After an intended change: <c>SDNEDGE_UPDATE_GOLDEN=1 dotnet test tests/SdnEdge.Core.Tests --filter
/// FullyQualifiedName~GoldenTests</c> rewrites the files; look at the difference before you commit it.
/// </summary>
public class GoldenTests
{
    private static readonly Lazy<Dictionary<string, string[]>[]> Dissected = new(Dissect);

    public static TheoryData<string> Names => new(Golden.All.Select(g => g.Name));

    [Theory]
    [MemberData(nameof(Names))]
    public void The_emitters_make_the_golden_frames(string name)
    {
        Golden golden = Find(name);
        string path = Path.Combine(Directory(), name + ".pcap");
        if (Environment.GetEnvironmentVariable("SDNEDGE_UPDATE_GOLDEN") == "1")
        {
            System.IO.Directory.CreateDirectory(Directory());
            PcapFile.Write(path, golden.Frames);
        }

        Assert.True(File.Exists(path), $"{path} is not there; SDNEDGE_UPDATE_GOLDEN=1 writes it");
        List<byte[]> stored = PcapFile.Read(path);
        Assert.Equal(golden.Frames.Length, stored.Count);
        for (int i = 0; i < stored.Count; i++) Assert.Equal(Convert.ToHexString(stored[i]), Convert.ToHexString(golden.Frames[i]));
    }

    [Fact]
    public void Every_file_in_pcaps_is_made_by_a_test()
        => Assert.Equal(
            Golden.All.Select(g => g.Name).Order(),

            // bgp- and vpn-: recorded sessions, of Router.Tests/Peers.
            System.IO.Directory.GetFiles(Directory(), "*.pcap").Select(f => Path.GetFileNameWithoutExtension(f)!)
                .Where(name => !name.StartsWith("bgp-", StringComparison.Ordinal) && !name.StartsWith("vpn-", StringComparison.Ordinal))
                .Order());

    [TsharkTheory]
    [MemberData(nameof(Names))]
    public void Tshark_agrees_field_by_field(string name)
    {
        Golden golden = Find(name);
        int first = Golden.All.TakeWhile(g => g.Name != name).Sum(g => g.Frames.Length);
        List<string> wrong = [];
        for (int i = 0; i < golden.Frames.Length; i++)
        {
            Dictionary<string, string[]> frame = Dissected.Value[first + i];
            foreach ((string field, string[] values) in golden.Fields)
            {
                string seen = string.Join(',', frame[field]);
                if (seen != values[i]) wrong.Add($"frame {i + 1}: {field} is '{seen}', expected '{values[i]}'");
            }

            foreach (string never in (string[])["_ws.malformed", "_ws.short"])
            {
                if (frame[never].Length > 0) wrong.Add($"frame {i + 1}: {never}");
            }
        }

        Assert.True(wrong.Count == 0, string.Join(Environment.NewLine, wrong));
    }

    [TsharkTheory]
    [InlineData("ipv4-every-header-field-and-options", 0, 22, "ip.checksum.status")]
    [InlineData("udp-checksums-over-both-families", 0, 44, "udp.checksum.status")]
    [InlineData("tcp-every-header-field-and-a-clamped-mss", 1, 60, "tcp.checksum.status")]
    [InlineData("gre-checksum-key-and-sequence-in-all-combinations", 3, 70, "gre.checksum.status")]
    [InlineData("icmp-echo", 0, 45, "icmp.checksum.status")]
    [InlineData("nd-redirect", 0, 70, "icmpv6.checksum.status")]
    public void Tshark_would_notice_a_wrong_byte(string name, int frame, int at, string field)
    {
        // The control: the agreement above is worth something only if the dissector sees damage.
        byte[] damaged = [.. Find(name).Frames[frame]];
        Assert.Equal("1", Run([damaged], [field])[0][field][0]);
        damaged[at] ^= 0x55;
        Assert.Equal("0", Run([damaged], [field])[0][field][0]);
    }

    private static Golden Find(string name) => Golden.All.Single(g => g.Name == name);

    private static Dictionary<string, string[]>[] Dissect()
        => Run([.. Golden.All.SelectMany(g => g.Frames)],
            [.. Golden.All.SelectMany(g => g.Fields).Select(f => f.Field).Distinct(), "_ws.malformed", "_ws.short"]);

    // One run over all frames: starting the dissector is what costs.
    private static Dictionary<string, string[]>[] Run(IReadOnlyList<byte[]> frames, string[] fields)
    {
        string path = Path.Combine(Path.GetTempPath(), $"sdnedge-{Guid.NewGuid():N}.pcap");
        PcapFile.Write(path, frames);
        try
        {
            ProcessStartInfo start = new(TsharkTheoryAttribute.Path!)
            {
                UseShellExecute = false,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            };
            string[] options =
            [
                "-r", path, "-n", "-T", "fields", "-E", "separator=|", "-E", "occurrence=a", "-E", "aggregator=,", "-d",
                "udp.port==4754,gre",
                "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o",
                "tcp.relative_sequence_numbers:FALSE",
            ];
            foreach (string option in options) start.ArgumentList.Add(option);
            foreach (string field in fields)
            {
                start.ArgumentList.Add("-e");
                start.ArgumentList.Add(field);
            }

            using Process tshark = Process.Start(start)!;
            Task<string> errors = tshark.StandardError.ReadToEndAsync();
            string output = tshark.StandardOutput.ReadToEnd();
            tshark.WaitForExit();
            Assert.True(tshark.ExitCode == 0, errors.Result);
            string[] lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
            Assert.Equal(frames.Count, lines.Length);
            return [.. lines.Select(line => fields.Zip(line.Split('|'))
                .ToDictionary(f => f.First, f => f.Second.Length == 0 ? [] : f.Second.Split(',')))];
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static string Directory()
    {
        DirectoryInfo? at = new(AppContext.BaseDirectory);
        while (at is not null && !File.Exists(Path.Combine(at.FullName, "SdnEdge.sln"))) at = at.Parent;
        return Path.Combine(at?.FullName
            ?? throw new InvalidOperationException("the tests must run inside the source tree, where SdnEdge.sln is"), "pcaps");
    }
}
