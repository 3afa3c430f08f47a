using System.Globalization;
using System.Text.RegularExpressions;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Config;

/// <summary>
/// Reads the fields of one YAML mapping and reports what is wrong with each. Every field that the schema knows is asked
/// for once; <see cref="Finish"/> then reports the keys nobody asked for, and keys that are there twice. A field that is
/// wrong is reported and read as its default, so that reading goes on and finds the next error.
/// </summary>
public sealed partial class MapReader
{
    private readonly ConfigErrors _errors;
    private readonly YamlMap _map;
    private readonly HashSet<string> _known = [];

    /// <summary>A reader over <paramref name="map"/>; <paramref name="path"/> is its field path, empty for the root.</summary>
    public MapReader(YamlMap map, string path, ConfigErrors errors)
    {
        _map = map;
        Path = path;
        _errors = errors;
    }

    /// <summary>Field path of the mapping.</summary>
    public string Path { get; }

    /// <summary>The mapping itself, for errors about it as a whole.</summary>
    public YamlMap Node => _map;

    /// <summary>The errors that this reader adds to.</summary>
    public ConfigErrors Errors => _errors;

    /// <summary>The path of a field of this mapping.</summary>
    public string At(string key) => Path.Length == 0 ? key : $"{Path}.{key}";

    /// <summary>Reports an error at a field's value (or at the mapping when the field is not there).</summary>
    public void Error(string key, string message) => _errors.Add(_map[key] ?? _map, At(key), message);

    /// <summary>True when the field is there and not empty.</summary>
    public bool Has(string key) => Value(key) is not null;

    /// <summary>A text field; null when missing.</summary>
    public string? Text(string key, bool required = false, string example = "a name")
    {
        YamlValue? value = Value(key);
        if (value is YamlText text) return text.Text;
        if (value is not null) _errors.Add(value, At(key), $"{value.Kind} where a single value belongs; write {key}: {example}");
        else if (required) _errors.Add(_map, At(key), $"is missing; write {key}: {example}");
        return null;
    }

    /// <summary>A required name: 1 to 63 letters, digits, dashes, dots or underscores. Empty when missing or wrong.</summary>
    public string Name(string key, string example)
    {
        string? text = Text(key, required: true, example);
        if (text is null) return "";
        if (text.Length is > 0 and <= 63 && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.')) return text;
        Error(key, $"'{text}' is not a name; write 1 to 63 letters, digits, dashes, dots or underscores, such as {example}");
        return "";
    }

    /// <summary>A whole number between the bounds; <paramref name="fallback"/> when missing or wrong.</summary>
    public long Number(string key, long min, long max, long fallback, bool required = false)
    {
        string? text = Text(key, required, required ? $"a whole number {min} to {max}" : $"{fallback}");
        if (text is null) return fallback;
        if (TryNumber(text, out long number) && number >= min && number <= max) return number;
        Error(key, $"'{text}' is not a whole number from {min} to {max}; {(required ? "write one" : $"the default is {fallback}")}");
        return fallback;
    }

    /// <summary>A number that may be missing.</summary>
    public long? OptionalNumber(string key, long min, long max) => Has(key) ? Number(key, min, max, min, required: true) : null;

    /// <summary>true or false.</summary>
    public bool Flag(string key, bool fallback)
    {
        string? text = Text(key, example: "true");
        switch (text)
        {
            case null: return fallback;
            case "true" or "yes" or "on": return true;
            case "false" or "no" or "off": return false;
            default:
                Error(key, $"'{text}' is neither true nor false; the default is {(fallback ? "true" : "false")}");
                return fallback;
        }
    }

    /// <summary>One of a few words.</summary>
    public T Choice<T>(string key, T fallback, params ReadOnlySpan<(string Word, T Value)> choices)
    {
        string? text = Text(key, example: choices[0].Word);
        if (text is null) return fallback;
        var words = new List<string>();
        foreach ((string word, T value) in choices)
        {
            if (word == text) return value;
            words.Add(word);
        }

        Error(key, $"'{text}' is not known; write one of {string.Join(", ", words)}{DidYouMean(text, words)}");
        return fallback;
    }

    /// <summary>An IP address without a length.</summary>
    public IpAddress Address(string key, bool required, string example)
    {
        string? text = Text(key, required, example);
        if (text is null) return default;
        if (IpAddress.TryParse(text, out IpAddress address)) return address;
        Error(key, text.Contains('/', StringComparison.Ordinal)
            ? $"'{text}' is a prefix where an address belongs; write it without the length, as {example}"
            : WithoutZeros(text) is { } plain ? $"'{text}' has leading zeros, which are octal to some programs; write {plain}"
            : $"'{text}' is not an IP address; write it as {example}");
        return default;
    }

    /// <summary>As <see cref="Address"/>, of a router or host that packets are forwarded to.</summary>
    public IpAddress RoutedAddress(string key, bool required, string example)
    {
        IpAddress address = Address(key, required, example);
        if (address.IsNone || Martians.WhyNot(address) is not { } why) return address;
        Error(key, $"'{address}' {why}; write the address of a router or host, as {example}");
        return default;
    }

    /// <summary>An IPv4 address or prefix that has leading zeros, without them; null when it is none.</summary>
    internal static string? WithoutZeros(string text)
    {
        string plain = LeadingZeros().Replace(text, "");
        return plain != text && IpPrefix.TryParseInterface(plain, out IpAddress address, out _) && address.IsV4 ? plain : null;
    }

    /// <summary>A nested mapping; null when missing.</summary>
    public MapReader? Map(string key)
    {
        YamlValue? value = Value(key);
        if (value is YamlMap map) return new MapReader(map, At(key), _errors);
        if (value is not null) _errors.Add(value, At(key), $"{value.Kind} where a mapping belongs; write {key}: and its fields below it");
        return null;
    }

    /// <summary>A list of mappings; empty when missing.</summary>
    public IEnumerable<MapReader> Maps(string key)
    {
        foreach ((YamlValue item, string path) in Items(key))
        {
            if (item is YamlMap map) yield return new MapReader(map, path, _errors);
            else _errors.Add(item, path, $"{item.Kind} where a mapping belongs; write {{ name: ..., ... }}");
        }
    }

    /// <summary>A mapping of names to mappings, in the file's order; empty when missing. A name alone has an empty one.</summary>
    public IEnumerable<(YamlText Name, MapReader Body)> Named(string key)
    {
        foreach ((YamlText name, YamlValue value, string path) in Fields(key))
        {
            YamlMap? map = value is YamlText { IsNull: true } ? new YamlMap([], name.Line, name.Column) : value as YamlMap;
            if (map is not null) yield return (name, new MapReader(map, path, _errors));
            else _errors.Add(value, path, $"{value.Kind} where a mapping belongs; write {name.Text}: and its fields below it");
        }
    }

    /// <summary>A mapping of names to single values, with their places; empty when missing.</summary>
    public IEnumerable<(string Name, YamlText Value, string Path)> Words(string key)
    {
        foreach ((YamlText name, YamlValue value, string path) in Fields(key))
        {
            if (value is YamlText text) yield return (name.Text, text, path);
            else _errors.Add(value, path, $"{value.Kind} where a single value belongs");
        }
    }

    /// <summary>A list of single values with their places; empty when missing.</summary>
    public IEnumerable<(YamlText Item, string Path)> Texts(string key)
    {
        foreach ((YamlValue item, string path) in Items(key))
        {
            if (item is YamlText { IsNull: false } text) yield return (text, path);
            else _errors.Add(item, path, $"{item.Kind} where a single value belongs");
        }
    }

    /// <summary>Marks fields as known without reading them.</summary>
    public void Known(params ReadOnlySpan<string> keys)
    {
        foreach (string key in keys) _known.Add(key);
    }

    /// <summary>Reports keys nobody asked for (with the word that was probably meant) and keys that are there twice.</summary>
    public void Finish()
    {
        var seen = new Dictionary<string, YamlText>();
        foreach ((YamlText key, YamlValue _) in _map.Entries)
        {
            if (seen.TryGetValue(key.Text, out YamlText? first))
            {
                _errors.Add(key, At(key.Text), $"is there twice, first on line {first.Line}; keep one of them");
                continue;
            }

            seen.Add(key.Text, key);
            if (_known.Contains(key.Text)) continue;
            string hint = DidYouMean(key.Text, _known);
            _errors.Add(key, At(key.Text), hint.Length > 0 ? $"is not a known field{hint}"
                : $"is not a known field; known here: {string.Join(", ", _known.Order(StringComparer.Ordinal))}");
        }
    }

    internal static string DidYouMean(string word, IEnumerable<string> known)
        => Spelling.Nearest(word, known) is { } nearest ? $"; did you mean '{nearest}'?" : "";

    private static bool TryNumber(string text, out long number)
        => text.StartsWith("0x", StringComparison.Ordinal)
            ? long.TryParse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out number)
            : long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out number);

    private YamlValue? Value(string key)
    {
        _known.Add(key);
        return _map[key] is { } value and not YamlText { IsNull: true } ? value : null;
    }

    // The fields of a nested mapping, whatever their names are.
    private List<(YamlText Name, YamlValue Value, string Path)> Fields(string key)
    {
        if (Map(key) is not { } nested) return [];
        foreach ((YamlText name, _) in nested._map.Entries) nested.Known(name.Text);
        nested.Finish();
        return [.. nested._map.Entries.Select(e => (e.Key, e.Value, nested.At(e.Key.Text)))];
    }

    private IEnumerable<(YamlValue Item, string Path)> Items(string key)
    {
        YamlValue? value = Value(key);
        if (value is YamlList list)
        {
            for (int i = 0; i < list.Items.Count; i++) yield return (list.Items[i], $"{At(key)}[{i}]");
        }
        else if (value is not null)
        {
            _errors.Add(value, At(key), $"{value.Kind} where a list belongs; write {key}: [ ... ] or one '- ' item a line");
        }
    }

    [GeneratedRegex("(?<![0-9a-fA-F])0+(?=[0-9])")]
    private static partial Regex LeadingZeros();
}
