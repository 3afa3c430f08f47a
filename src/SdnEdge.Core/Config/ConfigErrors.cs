namespace SdnEdge.Core.Config;

/// <summary>One thing that is wrong in a configuration file.</summary>
/// <param name="File">Name of the file as the user gave it.</param>
/// <param name="Line">Line, from 1; 0 = it is of no line, the file cannot be read.</param>
/// <param name="Column">Column, from 1.</param>
/// <param name="Field">Path of the field, e.g. <c>ports[1].mtu</c>; empty for the whole file.</param>
/// <param name="Message">What is wrong; what would be right.</param>
public sealed record ConfigError(string File, int Line, int Column, string Field, string Message)
{
    /// <summary><c>file:line:col: field: message</c>, as compilers write it.</summary>
    public override string ToString() => Line == 0 ? $"{File}: {Message}"
        : Field.Length == 0 ? $"{File}:{Line}:{Column}: {Message}" : $"{File}:{Line}:{Column}: {Field}: {Message}";
}

/// <summary>Collects every error of one file, in the order of the file.</summary>
/// <param name="file">Name of the file as the user gave it.</param>
public sealed class ConfigErrors(string file)
{
    private readonly List<ConfigError> _list = [];

    /// <summary>Name of the file as the user gave it.</summary>
    public string File => file;

    /// <summary>All errors, by place in the file.</summary>
    public IReadOnlyList<ConfigError> List => [.. _list.OrderBy(e => e.Line).ThenBy(e => e.Column)];

    /// <summary>Number of errors.</summary>
    public int Count => _list.Count;

    /// <summary>Adds an error at a place.</summary>
    public void Add(int line, int column, string field, string message) => _list.Add(new ConfigError(file, line, column, field, message));

    /// <summary>Adds an error at a node.</summary>
    public void Add(YamlValue at, string field, string message) => Add(at.Line, at.Column, field, message);
}

/// <summary>Finds the word that was probably meant.</summary>
public static class Spelling
{
    /// <summary>The known word nearest to <paramref name="word"/>, when it is near enough to be a slip; else null.</summary>
    public static string? Nearest(string word, IEnumerable<string> known)
    {
        string? best = null;
        int bestDistance = Math.Max(1, Math.Min(3, word.Length / 2)) + 1;
        foreach (string candidate in known)
        {
            int distance = Distance(word.ToLowerInvariant(), candidate.ToLowerInvariant());
            if (distance >= bestDistance) continue;
            (best, bestDistance) = (candidate, distance);
        }

        return best;
    }

    // Edits (insert, delete, replace, swap of neighbours) between two words.
    private static int Distance(string a, string b)
    {
        var d = new int[a.Length + 1, b.Length + 1];
        for (int i = 0; i <= a.Length; i++) d[i, 0] = i;
        for (int j = 0; j <= b.Length; j++) d[0, j] = j;
        for (int i = 1; i <= a.Length; i++)
        {
            for (int j = 1; j <= b.Length; j++)
            {
                int cost = a[i - 1] == b[j - 1] ? 0 : 1;
                d[i, j] = Math.Min(Math.Min(d[i - 1, j] + 1, d[i, j - 1] + 1), d[i - 1, j - 1] + cost);
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) d[i, j] = Math.Min(d[i, j], d[i - 2, j - 2] + 1);
            }
        }

        return d[a.Length, b.Length];
    }
}
