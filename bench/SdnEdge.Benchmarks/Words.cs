using System.Globalization;

namespace SdnEdge.Benchmarks;

/// <summary>What the benchmarks' command lines have in common.</summary>
internal static class Words
{
    /// <summary>What the first word stands for.</summary>
    public static bool TryFind<T>(IEnumerable<(string Name, string What, T Is)> all, string[] args, out T found)
    {
        foreach ((string name, _, T one) in all)
        {
            if (args is not [var first, ..] || first != name) continue;
            found = one;
            return true;
        }

        found = default!;
        return false;
    }

    /// <summary>Writes what the first word may be, to the error output.</summary>
    public static void List<T>(IReadOnlyCollection<(string Name, string What, T Is)> all)
    {
        int width = all.Max(a => a.Name.Length);
        foreach ((string name, string what, _) in all) Console.Error.WriteLine($"  {name.PadRight(width)}  {what}");
    }

    /// <summary>Takes an option with its number, <c>--count 5</c>, into the options that there are.</summary>
    /// <param name="numbers">Each option with its default.</param>
    /// <param name="args">The words.</param>
    /// <param name="at">Of the option; of its number when it was one.</param>
    /// <param name="least">Least number.</param>
    /// <returns>False: it is no such option, or no such number.</returns>
    public static bool TakeNumber(Dictionary<string, int> numbers, string[] args, ref int at, int least = 1)
    {
        if (at + 1 >= args.Length || !numbers.ContainsKey(args[at])
            || !int.TryParse(args[at + 1], NumberStyles.None, CultureInfo.InvariantCulture, out int number) || number < least)
        {
            return false;
        }

        numbers[args[at++]] = number;
        return true;
    }
}
