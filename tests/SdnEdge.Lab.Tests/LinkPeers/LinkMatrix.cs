namespace SdnEdge.Lab.Tests.LinkPeers;

/// <summary>
/// The table "On a link" of docs/peers.md, a row for each make. The document is the expectation: a test compares what it found with its
/// row, and with SDNEDGE_UPDATE_PEERS=1 writes it instead.
/// </summary>
internal static class LinkMatrix
{
    /// <summary>The columns.</summary>
    public static readonly string[] Features =
        ["IPv4", "IPv6", "link-local", "IPv4 by IPv6", "by the port alone", "GTSM and MD5", "BFD", "forwards", "closed port"];

    private const string Mark = "over a link";
    private static readonly Lock Writing = new();

    /// <summary>Whether the run rewrites the document.</summary>
    public static bool Updates => Environment.GetEnvironmentVariable("SDNEDGE_UPDATE_PEERS") == "1";

    private static string Document => Path.Combine(LabFiles.Root(), "docs", "peers.md");

    /// <summary>The row as the document is to have it.</summary>
    public static string Row(string make, IReadOnlyDictionary<string, string> cells)
        => $"| {make} | {Mark} | {string.Join(" | ", Features.Select(f => cells[f]))} |";

    /// <summary>The row that the document has; empty when it has none.</summary>
    public static string Documented(string make)
        => File.ReadAllLines(Document).FirstOrDefault(l => l.StartsWith($"| {make} | {Mark} |", StringComparison.Ordinal)) ?? "";

    /// <summary>Puts a row into the document in place of the old one.</summary>
    public static void Write(string make, string row)
    {
        lock (Writing)
        {
            string[] lines = File.ReadAllLines(Document);
            int at = Array.FindIndex(lines, l => l.StartsWith($"| {make} | {Mark} |", StringComparison.Ordinal));
            if (at < 0) throw new InvalidOperationException($"docs/peers.md has no row '{make}' over a link");
            lines[at] = row;
            File.WriteAllText(Document, string.Join('\n', lines) + "\n");
        }
    }
}
