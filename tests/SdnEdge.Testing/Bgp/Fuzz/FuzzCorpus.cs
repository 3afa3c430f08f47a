using SdnEdge.Core.Bgp;

namespace SdnEdge.Testing.Bgp.Fuzz;

/// <summary>Messages to begin with: those our own encoder makes, hand-made ones with every attribute, and captured ones.</summary>
public static class FuzzCorpus
{
    /// <summary>Messages made here.</summary>
    public static IReadOnlyList<byte[]> Made()
    {
        const byte OptionalTransitive = UpdateSketch.Both;
        var list = new List<byte[]>
        {
            UpdateSketch.Header(19, 4),
            UpdateSketch.Message(5, [0, 1, 0, 1]),
            UpdateSketch.Message(5, [0, 2, 0, 1]),
            UpdateSketch.Message(3, [6, 2, 5, 0x68, 0x65, 0x6C, 0x6C, 0x6F]),
            UpdateSketch.Message(2, [0, 0, 0, 0]),
            UpdateSketch.Message(2, UpdateSketch.Hex("0000 0006 800F 03 0002 01")),
            UpdateSketch.Message(1,
                UpdateSketch.Hex("04 FDE8 005A 0AFF0002 24 0206 010400010001 0206 010400020001 0202 0200 0202 4600 0206 41040000FDE8 0204 "
                + "40024078")),
            UpdateSketch.Message(1, UpdateSketch.Hex("04 FDE9 005A 0AFF0002 FF FF0009 020006 41040000FDE9")),
        };
        foreach (int asSize in (int[])[2, 4])
        {
            foreach (bool external in (bool[])[false, true])
            {
                list.Add(new UpdateSketch(external, asSize).Build());
                list.Add(new UpdateSketch(external, asSize).Withdrawn("10 0A02 18 0A0103 20 0A010105 00").Nlri("").Build());
                list.Add(new UpdateSketch(external, asSize).Mp().Build());
                list.Add(new UpdateSketch(external, asSize)
                    .Mp("20 FD0000FF000000000000000000000002 FE800000000000000000000000000002 00 40 FD00000100020000 30 FD0000010003 00")
                    .Build());
                list.Add(new UpdateSketch(external, asSize).Bare()
                    .Add(UpdateSketch.Optional, 15, "000201 80 FD000001000100000000000000000010 40 FD00000100020000").Build());
                list.Add(new UpdateSketch(external, asSize).Add(UpdateSketch.Optional, 4, "00000005")
                    .Add(OptionalTransitive, 8, "FDE80001 FFFFFF01 FDE90007")
                    .Add(OptionalTransitive, 16, "0002FDE800000001 0202FDE900000002")
                    .Add(OptionalTransitive, 32, "0000FDE80000000100000002").Build());
                list.Add(new UpdateSketch(external, asSize).Add(UpdateSketch.WellKnown, 6, "")
                    .Add(OptionalTransitive, 7, asSize == 4 ? "0000FDE9 0A000001" : "5BA0 0A000001")
                    .Add(OptionalTransitive, 23, "0002 000C 0601 04 0AFF0002 0404 00000007")
                    .Add(OptionalTransitive, 40, "010007 00000000000001").Add(OptionalTransitive, 35, "0000FDE9").Build());
            }
        }

        foreach (bool external in (bool[])[false, true])
        {
            // VPN routes: announced with the tunnel to them, of both families, and taken back.
            list.Add(new UpdateSketch(external).Vpn().Build());
            list.Add(new UpdateSketch(external)
                .Vpn("0C 0000000000000000 0AFF0002 00 70 000031 0000FDE800000001 0A0101 78 000031 00010AFF00020007 0A010105 58 000031 "
                + "0002FA56EA000007", tunnel: null).Build());
            list.Add(new UpdateSketch(external)
                .Vpn("18 0000000000000000 00000000000000000000FFFF0AFF0002 00 98 000031 0000FDE800000001 FD00000100010000 D8 000031 "
                + "0000FDE800000002 FD000001000100000000000000000010", "0002 80").Build());
            list.Add(new UpdateSketch(external)
                .Vpn("30 0000000000000000 FD0000FF000000000000000000000002 0000000000000000 FE800000000000000000000000000002 00 98 000031 "
                + "0000FDE800000001 FD00000100010000", "0002 80").Build());
            list.Add(new UpdateSketch(external).Bare()
                .Add(UpdateSketch.Optional, 15, "000180 70 800000 0000FDE800000001 0A0101 58 000000 0000FDE800000001").Build());
            list.Add(new UpdateSketch(external).Bare()
                .Add(UpdateSketch.Optional, 15, "000280 98 800000 0000FDE800000001 FD00000100010000").Build());
            list.Add(new UpdateSketch(external)
                .Add(OptionalTransitive, 23, "00FF 0002 0100 " + UpdateSketch.Tunnel + "0002 0009 0104 00000007 800000").Build());
        }

        list.Add(UpdateSketch.Message(2, UpdateSketch.Hex("0000 0006 800F 03 0001 80")));
        list.Add(UpdateSketch.Message(5, [0, 2, 0, 128]));
        list.Add(new UpdateSketch(false).Add(UpdateSketch.Optional, 9, "0AFF0007")
            .Add(UpdateSketch.Optional, 10, "0AFF0008 0AFF0009").Build());
        list.Add(new UpdateSketch(true, 2).Change(2, "02 03 FDE9 5BA0 5BA0").Add(OptionalTransitive, 17, "02 02 FA56EA01 FA56EA02")
            .Add(OptionalTransitive, 7, "5BA0 0A000001").Add(OptionalTransitive, 18, "FA56EA01 0A000001").Build());
        list.Add(new UpdateSketch(true).Change(2, "02 03 0000FDE9 0000FDEA FA56EA01 01 02 0000FDEB 0000FDEC")
            .Nlri("20 0A4D0001 1F 0A4D0002 00 08 0B").Build());
        list.Add(new UpdateSketch(true).Change(2, "02 FF 0000FDE9" + string.Concat(Enumerable.Repeat("0000FDEA", 254))).Build());
        list.Add(new UpdateSketch(true, 2)
            .Change(2, "02 FF FDE9" + string.Concat(Enumerable.Repeat("FDEA", 254)) + "02 FF "
                + string.Concat(Enumerable.Repeat("FDEB", 255))).Build());

        // As large as a message gets.
        list.Add(new UpdateSketch(true).Add(OptionalTransitive, 8, string.Concat(Enumerable.Repeat("FDE80001", 1000))).Build());
        return list;
    }

    /// <summary>Messages made here, and those of the sessions with real peers recorded in a folder (bgp-*.pcap), each once.</summary>
    public static IReadOnlyList<byte[]> WithCaptured(string folder)
    {
        var seen = new HashSet<string>(StringComparer.Ordinal);
        var list = new List<byte[]>(Made());
        foreach (string path in Directory.GetFiles(folder, "bgp-*.pcap").Order(StringComparer.Ordinal))
        {
            foreach (CapturedMessage message in BgpCapture.Messages(path))
            {
                if (seen.Add(Convert.ToHexString(message.Bytes))) list.Add(message.Bytes);
            }
        }

        return list;
    }

    /// <summary>The folder of captures of this project; null when the program does not run inside its tree.</summary>
    public static string? Folder()
    {
        for (DirectoryInfo? at = new(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            string pcaps = Path.Combine(at.FullName, "pcaps");
            if (File.Exists(Path.Combine(at.FullName, "SdnEdge.sln")) && Directory.Exists(pcaps)) return pcaps;
        }

        return null;
    }
}
