using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace SdnEdge.Core.Config;

/// <summary>A node of a YAML document with its place in the file. Lines and columns count from 1.</summary>
/// <param name="Line">Line where the node starts.</param>
/// <param name="Column">Column where the node starts.</param>
public abstract record YamlValue(int Line, int Column)
{
    /// <summary>What the node is, in words for an error.</summary>
    public abstract string Kind { get; }
}

/// <summary>A scalar as written, without a type of its own.</summary>
/// <param name="Text">The text, quotes and escapes resolved.</param>
/// <param name="Quoted">True when it was written in quotes: then it is never null, a number or a boolean.</param>
/// <param name="Line">Line.</param>
/// <param name="Column">Column.</param>
public sealed record YamlText(string Text, bool Quoted, int Line, int Column) : YamlValue(Line, Column)
{
    /// <inheritdoc/>
    public override string Kind => IsNull ? "empty" : "a single value";

    /// <summary>True for an empty or null scalar.</summary>
    public bool IsNull => !Quoted && Text is "" or "~" or "null";
}

/// <summary>A sequence.</summary>
/// <param name="Items">Its items in order.</param>
/// <param name="Line">Line.</param>
/// <param name="Column">Column.</param>
public sealed record YamlList(IReadOnlyList<YamlValue> Items, int Line, int Column) : YamlValue(Line, Column)
{
    /// <inheritdoc/>
    public override string Kind => "a list";
}

/// <summary>A mapping. Keys are kept in order, with their places; a key may wrongly be there twice.</summary>
/// <param name="Entries">Keys and values in order.</param>
/// <param name="Line">Line.</param>
/// <param name="Column">Column.</param>
public sealed record YamlMap(IReadOnlyList<(YamlText Key, YamlValue Value)> Entries, int Line, int Column) : YamlValue(Line, Column)
{
    /// <inheritdoc/>
    public override string Kind => "a mapping";

    /// <summary>The first value of the key, or null.</summary>
    public YamlValue? this[string key]
    {
        get
        {
            foreach ((YamlText name, YamlValue value) in Entries)
            {
                if (name.Text == key) return value;
            }

            return null;
        }
    }
}

/// <summary>
/// Reads YAML text into a tree that keeps every place, so that each error can name its line. Anchors and aliases are
/// resolved to the same node; nesting is limited to <see cref="MaxDepth"/>.
/// </summary>
public static class YamlTree
{
    /// <summary>Deepest nesting accepted.</summary>
    public const int MaxDepth = 64;

    /// <summary>Parses one document. Returns null and adds an error when the text is no YAML; an empty document is an empty
    /// mapping.</summary>
    public static YamlValue? Parse(string text, ConfigErrors errors)
    {
        var parser = new Parser(new StringReader(text));
        try
        {
            parser.Consume<StreamStart>();
            if (parser.Accept<StreamEnd>(out _)) return new YamlMap([], 1, 1);
            parser.Consume<DocumentStart>();
            YamlValue root = Read(parser, [], 0);
            parser.Consume<DocumentEnd>();
            if (parser.Accept<DocumentStart>(out _))
            {
                ParsingEvent second = parser.Current!;
                errors.Add((int)second.Start.Line, (int)second.Start.Column, "",
                    "a second YAML document starts here; one file holds one document");
            }

            return root is YamlText { IsNull: true } ? new YamlMap([], 1, 1) : root;
        }
        catch (YamlException e)
        {
            string reason = e.InnerException?.Message ?? e.Message;
            int colon = reason.IndexOf("): ", StringComparison.Ordinal);
            if (reason.StartsWith("(Line", StringComparison.Ordinal) && colon > 0) reason = reason[(colon + 3)..];
            errors.Add((int)e.Start.Line, (int)e.Start.Column, "",
                $"this is not YAML: {reason.TrimEnd('.')}; check indentation (spaces, no tabs), colons and quotes");
            return null;
        }
        catch (InvalidOperationException)
        {
            // The scanner fails this way on some unfinished flow collections; what it read last is the nearest place.
            Mark last = parser.Current?.End ?? new Mark(0, 1, 1);
            errors.Add((int)last.Line, (int)last.Column, "",
                "this is not YAML: after here a bracket, brace or quote is not closed; check indentation (spaces, no tabs), colons and "
                + "quotes");
            return null;
        }
    }

    private static YamlValue Read(IParser parser, Dictionary<string, YamlValue> anchors, int depth)
    {
        ParsingEvent at = parser.Current ?? throw new YamlException("unexpected end of the file");
        int line = (int)at.Start.Line, column = (int)at.Start.Column;
        if (depth > MaxDepth) throw new YamlException(at.Start, at.End, $"nested deeper than {MaxDepth} levels");
        YamlValue value;
        switch (at)
        {
            case AnchorAlias alias:
                parser.MoveNext();
                return anchors.TryGetValue(alias.Value.Value, out YamlValue? known) ? known
                    : throw new YamlException(at.Start, at.End, $"alias '*{alias.Value.Value}' has no anchor before it");
            case Scalar scalar:
                parser.MoveNext();
                value = new YamlText(scalar.Value, scalar.Style is not ScalarStyle.Plain, line, column);
                break;
            case SequenceStart:
                parser.MoveNext();
                var items = new List<YamlValue>();
                while (!parser.TryConsume<SequenceEnd>(out _)) items.Add(Read(parser, anchors, depth + 1));
                value = new YamlList(items, line, column);
                break;
            case MappingStart:
                parser.MoveNext();
                var entries = new List<(YamlText, YamlValue)>();
                while (!parser.TryConsume<MappingEnd>(out _))
                {
                    ParsingEvent keyAt = parser.Current!;
                    if (Read(parser, anchors, depth + 1) is not YamlText key) throw new YamlException(keyAt.Start, keyAt.End,
                        "a key must be a single word");
                    entries.Add((key, Read(parser, anchors, depth + 1)));
                }

                value = new YamlMap(entries, line, column);
                break;
            default:
                throw new YamlException(at.Start, at.End, $"unexpected {at.GetType().Name}");
        }

        if (at is NodeEvent { Anchor.IsEmpty: false } node) anchors[node.Anchor.Value] = value;
        return value;
    }
}
