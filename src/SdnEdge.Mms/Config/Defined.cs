using SdnEdge.Core.Config;

namespace SdnEdge.Mms.Config;

/// <summary>What one list of the configuration defines, by name: each name once, and a name that is used must be there.</summary>
/// <param name="what">What each item is, for messages: <c>PE</c>.</param>
/// <param name="where">The list that defines them: <c>pes</c>.</param>
internal sealed class Defined<T>(string what, string where) where T : class
{
    private readonly Dictionary<string, (T Value, int Line)> _byName = [];
    private readonly List<T> _all = [];

    /// <summary>All items whose name is good, in the file's order.</summary>
    public IReadOnlyList<T> All => _all;

    /// <summary>Adds an item; reports a name that is there already. An empty name was reported before.</summary>
    public void Add(MapReader item, string name, T value)
    {
        if (name.Length == 0) return;
        if (_byName.TryAdd(name, (value, (item.Node["name"] ?? item.Node).Line))) _all.Add(value);
        else item.Error("name", $"a {what} '{name}' is already there on line {_byName[name].Line}; each must be the only one");
    }

    /// <summary>The item that a required field names; null (and an error) when the field is missing or there is no such item.</summary>
    public T? Find(MapReader place, string field, string example)
    {
        string? name = place.Text(field, required: true, example);
        return name is not null && place.Node[field] is YamlText text ? Find(text, place.At(field), place.Errors) : null;
    }

    /// <summary>The item that a text names; null (and an error) when there is none.</summary>
    public T? Find(YamlText text, string path, ConfigErrors errors)
    {
        if (_byName.TryGetValue(text.Text, out (T Value, int) found)) return found.Value;
        string near = Spelling.Nearest(text.Text, _byName.Keys) is { } nearest ? $"; did you mean '{nearest}'?" : "";
        string use = _byName.Count > 0 ? $" or use one of {string.Join(", ", _byName.Keys)}" : "";
        errors.Add(text, path, $"there is no {what} '{text.Text}'; define it under {where}{use}{near}");
        return null;
    }
}
