using System.CommandLine;
using System.CommandLine.Parsing;
using System.Text.RegularExpressions;
using SdnEdge.Core.Config;

namespace SdnEdge.Cli;

/// <summary>
/// What is wrong with a command line, in words: the parser's own speak of its types, and stand above a page of help that hides them.
/// </summary>
internal static partial class UsageErrors
{
    /// <summary>The lines to print; null: nothing is wrong, or all that is missing is which command: the help is the answer to
    /// that.</summary>
    public static IReadOnlyList<string>? In(ParseResult parsed)
    {
        Command command = parsed.CommandResult.Command;
        string[] strangers = [.. parsed.UnmatchedTokens];
        if (parsed.Errors.Count == 0 || (strangers.Length == 0 && command.Subcommands.Any(c => !c.Hidden) && command.Action is null))
            return null;
        string name = NameOf(parsed.CommandResult);
        var lines = new List<string>();
        foreach (string stranger in strangers) lines.Add($"{name}: {WhatOf(stranger, command)}");

        // What is not known is said already, and where a command is missing it is that.
        foreach (string message in parsed.Errors.Select(e => e.Message).Where(m => !strangers.Any(s => m.Contains($"'{s}'",
            StringComparison.Ordinal)) && (strangers.Length == 0 || !m.StartsWith("Required command", StringComparison.Ordinal))))
        {
            Match type = NoValue().Match(message);
            lines.Add($"{name}: " + (type.Success
                ? $"'{type.Groups["text"].Value}' is no value for {type.Groups["what"].Value}; it takes {Kind(type.Groups["type"].Value)}"
                : message.Replace("\n\t", " ", StringComparison.Ordinal).TrimEnd('.')));
        }

        lines.Add($"'{name} --help' has all of it.");
        return lines;
    }

    private static string NameOf(SymbolResult result)
    {
        var words = new List<string>();
        for (SymbolResult? at = result; at is not null; at = at.Parent)
        {
            if (at is CommandResult { Command: var command }) words.Insert(0, command is RootCommand ? "sdnedge" : command.Name);
        }

        return string.Join(' ', words);
    }

    private static string WhatOf(string stranger, Command command)
    {
        bool isOption = stranger.StartsWith('-');
        string[] known = isOption ? [.. command.Options.Where(o => !o.Hidden).Select(o => o.Name)]
            : [.. command.Subcommands.Where(c => !c.Hidden).Select(c => c.Name)];
        string nearest = Spelling.Nearest(stranger, known) is { } near ? $"; did you mean '{near}'?" : "";
        if (isOption) return $"there is no option '{stranger}'{nearest}";
        if (known.Length > 0) return $"there is no '{stranger}'{(nearest.Length > 0 ? nearest : $"; there is {string.Join(", ", known)}")}";
        Option? file = command.Options.FirstOrDefault(o => o.Name is "--topo" or "--config");
        return $"'{stranger}' belongs to no option{(file is null ? "" : $"; a file is named with {file.Name} {stranger}")}";
    }

    private static string Kind(string type) => type switch
    {
        _ when type.Contains("Double", StringComparison.Ordinal) || type.Contains("Single", StringComparison.Ordinal) => "a number",
        _ when type.Contains("UInt16", StringComparison.Ordinal) => "a whole number, 0 to 65535",
        _ when type.Contains("UInt", StringComparison.Ordinal) => "a whole number from 0 on",
        _ when type.Contains("Int", StringComparison.Ordinal) => "a whole number",
        _ when type.Contains("Boolean", StringComparison.Ordinal) => "true or false, or nothing",
        _ => "something else",
    };

    [GeneratedRegex("^Cannot parse argument '(?<text>.*)' for (option|command|argument) '(?<what>[^']*)' as expected type '(?<type>.*)'",
        RegexOptions.ExplicitCapture)]
    private static partial Regex NoValue();
}
