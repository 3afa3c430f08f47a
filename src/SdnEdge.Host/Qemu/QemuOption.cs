using System.Text;
using System.Text.Json;

namespace SdnEdge.Host.Qemu;

/// <summary>
/// The value of an option of QEMU: keys and their values. It is written as <c>virtio-net-pci,netdev=n0,mac=...</c>, where a comma in a
/// value is doubled and a key without a value is on, or as JSON, whose inner objects become keys with dots.
/// </summary>
internal sealed class QemuOption
{
    private const int DeepestJson = 32;

    private readonly Dictionary<string, string> _values = new(StringComparer.Ordinal);

    /// <summary>An option that says nothing.</summary>
    public static QemuOption None { get; } = new();

    /// <summary>A value; null = it is not said.</summary>
    public string? this[string key] => _values.GetValueOrDefault(key);

    /// <summary>These keys, but for those without a value.</summary>
    public static QemuOption Of(params (string Key, string? Value)[] pairs)
    {
        var option = new QemuOption();
        foreach ((string key, string? value) in pairs)
        {
            if (value is not null) option._values[key] = value;
        }

        return option;
    }

    /// <summary>Reads one. What is not well formed gives what can be read of it.</summary>
    /// <param name="text">What was written.</param>
    /// <param name="first">The key of a value that comes first and has none.</param>
    public static QemuOption Parse(string text, string first)
    {
        var option = new QemuOption();
        if (text.StartsWith('{') || text.StartsWith("json:{", StringComparison.Ordinal))
        {
            option.AddJson(text.StartsWith('{') ? text : text["json:".Length..], "");
            return option;
        }

        string[] items = [.. Split(text)];
        for (int i = 0; i < items.Length; i++)
        {
            int equals = items[i].IndexOf('=', StringComparison.Ordinal);
            if (equals > 0) option.Set(items[i][..equals], items[i][(equals + 1)..]);
            else if (i == 0) option.Set(first, items[i]);
            else if (items[i].Length > 0) option.Set(items[i], "on");
        }

        return option;
    }

    /// <summary>This one and another, whose values are before this one's.</summary>
    public QemuOption With(QemuOption other)
    {
        var both = new QemuOption();
        foreach ((string key, string value) in _values.Concat(other._values)) both._values[key] = value;
        return both;
    }

    /// <summary>What is said below a key (<c>file.driver</c> below <c>file</c>); null = nothing.</summary>
    public QemuOption? Under(string key)
    {
        var below = new QemuOption();
        foreach ((string name, string value) in _values)
        {
            if (name.StartsWith(key + ".", StringComparison.Ordinal)) below._values[name[(key.Length + 1)..]] = value;
        }

        return below._values.Count == 0 ? null : below;
    }

    /// <summary>All of it but for some keys, in alphabetical order. Of a ROM's path only the file's name is the guest's.</summary>
    public string Text(params string[] without) => string.Join(',', _values.Where(v => !without.Contains(v.Key))
        .OrderBy(v => v.Key, StringComparer.Ordinal)
        .Select(v => $"{v.Key}={(v.Key is "romfile" ? Path.GetFileName(v.Value) : v.Value)}"));

    // A value may be JSON itself (file=json:{...}).
    private void Set(string key, string value)
    {
        if (value.StartsWith("json:{", StringComparison.Ordinal)) AddJson(value["json:".Length..], key + ".");
        else _values[key] = value;
    }

    private void AddJson(string text, string prefix)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(text, new JsonDocumentOptions { MaxDepth = DeepestJson });
            Add(document.RootElement, prefix);
        }
        catch (Exception e) when (e is JsonException or ArgumentException or InvalidOperationException)
        {
            // QEMU refuses it.
        }
    }

    private void Add(JsonElement element, string prefix)
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                foreach (JsonProperty property in element.EnumerateObject()) Add(property.Value, $"{prefix}{property.Name}.");
                break;
            case JsonValueKind.Array:
                int index = 0;
                foreach (JsonElement item in element.EnumerateArray()) Add(item, $"{prefix}{index++}.");
                break;
            case JsonValueKind.True or JsonValueKind.False:
                _values[prefix.TrimEnd('.')] = element.ValueKind == JsonValueKind.True ? "on" : "off";
                break;
            case JsonValueKind.Null or JsonValueKind.Undefined:
                break;
            default:
                _values[prefix.TrimEnd('.')] = element.ToString();
                break;
        }
    }

    private static IEnumerable<string> Split(string text)
    {
        var item = new StringBuilder();
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] != ',')
            {
                item.Append(text[i]);
            }
            else if (i + 1 < text.Length && text[i + 1] == ',')
            {
                item.Append(',');
                i++;
            }
            else
            {
                yield return item.ToString();
                item.Clear();
            }
        }

        yield return item.ToString();
    }
}
