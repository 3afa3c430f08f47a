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
/// <param name="Entries">Keys and values in order; what a merge key (<c>&lt;&lt;</c>) brings is among them, at its own place in the
/// file.</param>
/// <param name="Line">Line.</param>
/// <param name="Column">Column.</param>
public sealed record YamlMap(IReadOnlyList<(YamlText Key, YamlValue Value)> Entries, int Line, int Column) : YamlValue(Line, Column)
{
    /// <inheritdoc/>
    public override string Kind => "a mapping";

    /// <summary>The keys and values as they are written in the mapping itself, merge keys unresolved.</summary>
    public IReadOnlyList<(YamlText Key, YamlValue Value)> Written { get; init; } = Entries;

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
/// Reads YAML text into a tree that keeps every place, so that each error can name its line. Nesting is limited to
/// <see cref="MaxDepth"/>. Anchors and aliases are resolved to the same node, and merge keys (YAML 1.1's type merge,
/// https://yaml.org/type/merge.html) to the keys that they bring: a key of the mapping itself wins over a merged one, an earlier mapping of
/// a list over a later one. What aliases repeat is limited, as if it had been written out: a few lines of aliases of aliases may stand for
/// more than any memory holds.
/// </summary>
public static class YamlTree
{
    /// <summary>Deepest nesting accepted, aliases written out.</summary>
    public const int MaxDepth = 64;

    /// <summary>Most values that all aliases of a document may repeat.</summary>
    public const int MaxAliasedValues = 100_000;

    /// <summary>Most characters that all aliases of a document may repeat.</summary>
    public const int MaxAliasedCharacters = 16 << 20;

    private const string MergeKey = "<<";

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
            var reader = new Reader(parser, errors);
            (YamlValue root, _) = reader.Read(0);
            parser.Consume<DocumentEnd>();
            if (parser.Accept<DocumentStart>(out _))
            {
                ParsingEvent second = parser.Current!;
                errors.Add((int)second.Start.Line, (int)second.Start.Column, "",
                    "a second YAML document starts here; one file holds one document");
            }

            // What a mapping lacks for a wrong merge would only be told a second time, as missing fields.
            if (reader.Failed) return null;
            return root is YamlText { IsNull: true } ? new YamlMap([], 1, 1) : root;
        }
        catch (AliasException e)
        {
            errors.Add(e.Line, e.Column, "", e.Message);
            return null;
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

    /// <summary>An alias stands for too much.</summary>
    private sealed class AliasException(Mark at, string message) : Exception(message)
    {
        public int Line => (int)at.Line;

        public int Column => (int)at.Column;
    }

    /// <summary>What a node is with its aliases written out.</summary>
    /// <param name="Values">Values in it, itself included.</param>
    /// <param name="Characters">Characters of its texts.</param>
    /// <param name="Levels">Levels of nesting below it.</param>
    private readonly record struct Extent(long Values, long Characters, int Levels)
    {
        public static Extent operator +(Extent whole, Extent part)
            => new(whole.Values + part.Values, whole.Characters + part.Characters, Math.Max(whole.Levels, part.Levels + 1));
    }

    /// <summary>Reads nodes, one after the other.</summary>
    private sealed class Reader(IParser parser, ConfigErrors errors)
    {
        private readonly Dictionary<string, (YamlValue Value, Extent Extent)> _anchors = [];
        private Extent _aliased;
        private List<Mark> _items = [];   // where the items of the list that was read last begin

        /// <summary>True when a merge was wrong; it is told.</summary>
        public bool Failed { get; private set; }

        public (YamlValue Value, Extent Extent) Read(int depth)
        {
            ParsingEvent at = parser.Current ?? throw new YamlException("unexpected end of the file");
            int line = (int)at.Start.Line, column = (int)at.Start.Column;
            if (depth > MaxDepth) throw new YamlException(at.Start, at.End, $"nested deeper than {MaxDepth} levels");
            var extent = new Extent(1, 0, 0);
            YamlValue value;
            switch (at)
            {
                case AnchorAlias alias:
                    parser.MoveNext();
                    return Resolve(alias, depth);
                case Scalar scalar:
                    parser.MoveNext();
                    value = new YamlText(scalar.Value, scalar.Style is not ScalarStyle.Plain, line, column);
                    extent = extent with { Characters = scalar.Value.Length };
                    break;
                case SequenceStart:
                    parser.MoveNext();
                    value = new YamlList(ReadItems(depth, ref extent), line, column);
                    break;
                case MappingStart:
                    parser.MoveNext();
                    value = ReadMap(line, column, depth, ref extent);
                    break;
                default:
                    throw new YamlException(at.Start, at.End, $"unexpected {at.GetType().Name}");
            }

            if (at is NodeEvent { Anchor.IsEmpty: false } node) _anchors[node.Anchor.Value] = (value, extent);
            return (value, extent);
        }

        private YamlValue Part(int depth, ref Extent whole)
        {
            (YamlValue value, Extent extent) = Read(depth + 1);
            whole += extent;
            return value;
        }

        private List<YamlValue> ReadItems(int depth, ref Extent extent)
        {
            var items = new List<YamlValue>();
            var places = new List<Mark>();
            while (!parser.TryConsume<SequenceEnd>(out _))
            {
                places.Add(parser.Current!.Start);
                items.Add(Part(depth, ref extent));
            }

            _items = places;
            return items;
        }

        private YamlMap ReadMap(int line, int column, int depth, ref Extent extent)
        {
            var written = new List<(YamlText Key, YamlValue Value)>();
            var merges = new Dictionary<int, IReadOnlyList<YamlMap>>();
            while (!parser.TryConsume<MappingEnd>(out _))
            {
                ParsingEvent keyAt = parser.Current!;
                if (Part(depth, ref extent) is not YamlText key)
                    throw new YamlException(keyAt.Start, keyAt.End, "a key must be a single word");
                ParsingEvent valueAt = parser.Current!;
                YamlValue value = Part(depth, ref extent);
                if (key is { Text: MergeKey, Quoted: false }) merges.Add(written.Count, MergedBy(valueAt, value));
                written.Add((key, value));
            }

            if (merges.Count == 0) return new YamlMap(written, line, column);
            HashSet<string> known = [.. written.Where((_, i) => !merges.ContainsKey(i)).Select(e => e.Key.Text)];
            var entries = new List<(YamlText Key, YamlValue Value)>();
            for (int i = 0; i < written.Count; i++)
            {
                if (!merges.TryGetValue(i, out IReadOnlyList<YamlMap>? sources)) entries.Add(written[i]);
                else
                {
                    foreach (YamlMap source in sources) entries.AddRange(source.Entries.Where(e => known.Add(e.Key.Text)));
                }
            }

            return new YamlMap(entries, line, column) { Written = written };
        }

        // The mappings that a merge key brings; what is none is told.
        private List<YamlMap> MergedBy(ParsingEvent at, YamlValue value)
        {
            if (value is YamlMap one) return [one];
            var maps = new List<YamlMap>();
            if (value is YamlList list)
            {
                bool here = at is SequenceStart;
                for (int i = 0; i < list.Items.Count; i++)
                {
                    if (list.Items[i] is YamlMap map) maps.Add(map);
                    else Wrong(here ? _items[i] : at.Start, list.Items[i], "in a list of mappings ");
                }
            }
            else
            {
                Wrong(at.Start, value, "");
            }

            return maps;
        }

        private void Wrong(Mark at, YamlValue value, string where)
        {
            Failed = true;
            string origin = value.Line == at.Line ? "" : $" (of line {value.Line})";
            errors.Add((int)at.Line, (int)at.Column, MergeKey,
                $"{value.Kind}{origin} {where}where a mapping belongs; a merge takes one mapping or a list of them: <<: *base, or "
                + "<<: [*base, *more]");
        }

        private (YamlValue Value, Extent Extent) Resolve(AnchorAlias alias, int depth)
        {
            string name = alias.Value.Value;
            if (!_anchors.TryGetValue(name, out (YamlValue Value, Extent Extent) known))
            {
                throw new AliasException(alias.Start,
                    $"there is no anchor '&{name}' before the alias '*{name}'; an alias stands for what is above it");
            }

            if (depth + known.Extent.Levels > MaxDepth)
                throw new AliasException(alias.Start, $"with the alias '*{name}' this is nested deeper than {MaxDepth} levels");
            _aliased += known.Extent;
            if (_aliased.Values > MaxAliasedValues || _aliased.Characters > MaxAliasedCharacters)
            {
                throw new AliasException(alias.Start, $"with the alias '*{name}' the file's aliases stand for more than "
                    + (_aliased.Values > MaxAliasedValues ? $"{MaxAliasedValues} values" : $"{MaxAliasedCharacters >> 20} MiB of text")
                    + "; write less of it by aliases");
            }

            return known;
        }
    }
}
