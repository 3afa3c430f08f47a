namespace SdnEdge.Router.Tests.Peers;

/// <summary>What a cell of the matrix says.</summary>
internal enum Verdict
{
    /// <summary>It was tried and works.</summary>
    Yes,

    /// <summary>It was tried and does not work; a footnote says why.</summary>
    No,

    /// <summary>Our speaker cannot do it yet.</summary>
    NotYet,

    /// <summary>The peer cannot do it; a footnote says what is documented or was found.</summary>
    PeerCannot,
}

/// <summary>One cell.</summary>
internal sealed record Answer(Verdict Verdict, string? Why = null)
{
    public static readonly Answer Yes = new(Verdict.Yes);

    public static Answer Cannot(string why) => new(Verdict.PeerCannot, why);

    public string Cell => (Verdict switch
    {
        Verdict.Yes => "yes",
        Verdict.No => "**no**",
        Verdict.NotYet => "not yet",
        _ => "peer cannot",
    }) + (Why is null ? string.Empty : $" ({Why})");
}

/// <summary>
/// The tables of docs/peers.md: one row for each make and role. The document is the expectation: a test compares what it found
/// with its row, and with SDNEDGE_UPDATE_PEERS=1 writes it instead.
/// </summary>
internal static class PeerMatrix
{
    /// <summary>The columns.</summary>
    public static readonly string[] Features =
        ["IPv4", "IPv6", "4-octet AS", "LOCAL_PREF move", "withdraw", "route refresh", "graceful restart", "GTSM", "MD5", "max-prefix"];

    private static readonly Lock Writing = new();

    /// <summary>The row as the document is to have it.</summary>
    public static string Row(string make, string role, IReadOnlyDictionary<string, Answer> answers)
    {
        // What was not asked stays as it is.
        string[] known = Documented(make, role).Split(" | ");
        string Cell(string feature, int column) => answers.TryGetValue(feature, out Answer? answer) ? answer.Cell
            : known.Length == Features.Length + 2 ? known[column + 2].TrimEnd(' ', '|') : "?";
        return $"| {make} | {role} | {string.Join(" | ", Features.Select(Cell))} |";
    }

    /// <summary>The row that the document has; empty when it has none.</summary>
    public static string Documented(string make, string role) =>
        File.ReadAllLines(Document()).FirstOrDefault(l => l.StartsWith($"| {make} | {role} |", StringComparison.Ordinal)) ?? string.Empty;

    /// <summary>Puts a row into the document in place of the old one.</summary>
    public static void Write(string make, string role, string row) => Replace($"| {make} | {role} |", row);

    /// <summary>Puts a line into the document in place of the one that begins alike.</summary>
    public static void Replace(string beginning, string line)
    {
        lock (Writing)
        {
            string[] lines = File.ReadAllLines(Document());
            int at = Array.FindIndex(lines, l => l.StartsWith(beginning, StringComparison.Ordinal));
            if (at < 0) throw new InvalidOperationException($"docs/peers.md has no line that begins with '{beginning}'");
            lines[at] = line;
            File.WriteAllText(Document(), string.Join('\n', lines) + "\n");
        }
    }

    /// <summary>Whether the run rewrites the document.</summary>
    public static bool Updates => Environment.GetEnvironmentVariable("SDNEDGE_UPDATE_PEERS") == "1";

    private static string Document() => Path.Combine(CaptureTests.Root(), "docs", "peers.md");
}
