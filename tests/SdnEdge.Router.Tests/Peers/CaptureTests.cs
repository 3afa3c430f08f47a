using SdnEdge.Core.Bgp;
using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Peers;

/// <summary>
/// The recorded sessions in pcaps/bgp-*.pcap: our codec and tshark read the same in every message of them.
/// <c>SDNEDGE_UPDATE_CAPTURES=1 ./build.sh test FullyQualifiedName~MatrixTests</c> records them anew.
/// </summary>
public sealed class CaptureTests
{
    public static TheoryData<string> Names
        => new(Directory.GetFiles(Folder(), "bgp-*.pcap").Select(f => Path.GetFileNameWithoutExtension(f)!).Order());

    [TsharkTheory]
    [MemberData(nameof(Names))]
    public void Our_codec_and_tshark_read_every_message_alike(string name) => ReadAlike(Path.Combine(Folder(), name + ".pcap"));

    [Theory]
    [MemberData(nameof(Names))]
    public void A_recorded_session_holds_every_kind_of_message(string name)
    {
        IReadOnlyList<CapturedMessage> all = BgpCapture.Messages(Path.Combine(Folder(), name + ".pcap"));
        Assert.Equal([1, 2, 3, 4, 5], all.Select(m => m.Type).Distinct().Order());

        // From the peer: both families announced and withdrawn, all three sorts of communities. From either: both ends of RIB.
        IReadOnlyList<SortedDictionary<string, string>> theirs =
            [.. all.Where(m => m.Stream.From.Address.ToString() == "10.255.0.3" && m.Type == 2)
            .Select(m => MessageView.Ours(m, MessageView.ContextOf(m.Stream, all)))];
        foreach (string kind in (string[])["nlri", "withdrawn", "reach", "unreach", "8", "16", "32"])
            Assert.Contains(theirs, u => u.ContainsKey(kind));
        foreach (string family in (string[])["ipv4", "ipv6"])
            Assert.Contains(all, m => m.Type == 2
                && MessageView.Ours(m, MessageView.ContextOf(m.Stream, all)).GetValueOrDefault("end") == family);
    }

    /// <summary>Fails, with every difference, when the two readings of a capture differ.</summary>
    internal static void ReadAlike(string path)
    {
        IReadOnlyList<CapturedMessage> all = BgpCapture.Messages(path);
        Dictionary<string, List<SortedDictionary<string, string>>> theirs = TsharkView.Dissect(path);
        List<string> wrong = [];
        int compared = 0;

        // By addresses and ports: a later connection may have the port of an earlier one again.
        foreach (IGrouping<string, CapturedMessage> stream in all.GroupBy(m => $"{m.Stream.From}>{m.Stream.To}"))
        {
            string key = stream.Key;
            List<SortedDictionary<string, string>> ours =
                [.. stream.Select(m => MessageView.Ours(m, MessageView.ContextOf(m.Stream, all)))];
            Assert.Equal(theirs[key].Count, ours.Count);
            for (int i = 0; i < ours.Count; i++)
            {
                compared++;
                string a = Line(ours[i]), b = Line(theirs[key][i]);
                if (a != b) wrong.Add($"{key} message {i + 1}:\n  ours   {a}\n  tshark {b}");
            }
        }

        Assert.True(wrong.Count == 0, string.Join('\n', wrong));
        Assert.Equal(theirs.Values.Sum(m => m.Count), compared);
    }

    internal static string Folder() => Path.Combine(Root(), "pcaps");

    /// <summary>The source tree.</summary>
    internal static string Root()
    {
        DirectoryInfo? at = new(AppContext.BaseDirectory);
        while (at is not null && !File.Exists(Path.Combine(at.FullName, "SdnEdge.sln"))) at = at.Parent;
        return at?.FullName ?? throw new InvalidOperationException("the tests must run inside the source tree, where SdnEdge.sln is");
    }

    private static string Line(SortedDictionary<string, string> view) => string.Join(", ", view.Select(v => $"{v.Key}={v.Value}"));
}
