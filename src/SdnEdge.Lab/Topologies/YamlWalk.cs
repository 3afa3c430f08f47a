using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace SdnEdge.Lab.Topologies;

/// <summary>Walks a YAML tree and gathers what is wrong, each with its line, instead of stopping at the first error.</summary>
internal sealed class YamlWalk(string file)
{
    private readonly List<TopologyError> _errors = [];

    /// <summary>What was wrong so far, by line.</summary>
    public IReadOnlyList<TopologyError> Errors => [.. _errors.OrderBy(e => e.Line)];

    /// <summary>Records an error.</summary>
    public void Error(int line, string message) => _errors.Add(new TopologyError(file, line, message));

    /// <summary>Records an error at a node.</summary>
    public void Error(YamlNode at, string message) => Error(LineOf(at), message);

    /// <summary>Line of a node, from 1.</summary>
    public static int LineOf(YamlNode node) => (int)node.Start.Line;

    /// <summary>The document's top mapping; null (and an error) when there is none.</summary>
    public YamlMappingNode? Parse(string text)
    {
        var stream = new YamlStream();
        try
        {
            stream.Load(new StringReader(text));
        }
        catch (YamlException e)
        {
            Error((int)e.Start.Line, $"this is not YAML: {e.Message}");
            return null;
        }

        if (stream.Documents.Count == 1 && stream.Documents[0].RootNode is YamlMappingNode root) return root;
        Error(1, stream.Documents.Count > 1 ? "several YAML documents; write one topology a file." : "the file is empty; it needs 'name' and 'topology'.");
        return null;
    }

    /// <summary>The entries of a mapping, in order; none (and an error) when the node is something else.</summary>
    public IEnumerable<(string Key, YamlNode KeyNode, YamlNode Value)> Entries(YamlNode? node, string what)
    {
        if (node is null || IsNull(node)) yield break;
        if (node is not YamlMappingNode mapping)
        {
            Error(node, $"{what} must be a mapping (key: value).");
            yield break;
        }

        foreach ((YamlNode key, YamlNode value) in mapping.Children)
        {
            if (key is YamlScalarNode { Value: { } name }) yield return (name, key, value);
            else Error(key, $"a key of {what} must be a word.");
        }
    }

    /// <summary>Reports keys that are not known.</summary>
    public void OnlyKeys(YamlNode? node, string what, params ReadOnlySpan<string> known)
    {
        if (node is not YamlMappingNode mapping) return;
        foreach (YamlNode key in mapping.Children.Keys)
        {
            string name = (key as YamlScalarNode)?.Value ?? "";
            if (known.IndexOf(name) < 0) Error(key, $"{what} has no '{name}'; known: {string.Join(", ", known.ToArray())}.");
        }
    }

    /// <summary>The value under a key; null when it is not there.</summary>
    public static YamlNode? Get(YamlNode? node, string key)
        => node is YamlMappingNode mapping && mapping.Children.TryGetValue(new YamlScalarNode(key), out YamlNode? value) && !IsNull(value) ? value : null;

    /// <summary>The text under a key; null when it is not there or (with an error) not a scalar.</summary>
    public string? Text(YamlNode? node, string key, string what)
    {
        YamlNode? value = Get(node, key);
        if (value is null) return null;
        if (value is YamlScalarNode { Value: { } text }) return text;
        Error(value, $"'{key}' of {what} must be a text.");
        return null;
    }

    /// <summary>The list of texts under a key; empty when it is not there.</summary>
    public List<string> Texts(YamlNode? node, string key, string what)
    {
        var texts = new List<string>();
        YamlNode? value = Get(node, key);
        if (value is null) return texts;
        if (value is not YamlSequenceNode list)
        {
            Error(value, $"'{key}' of {what} must be a list.");
            return texts;
        }

        foreach (YamlNode item in list)
        {
            if (item is YamlScalarNode { Value: { } text }) texts.Add(text);
            else Error(item, $"each line of '{key}' of {what} must be a text.");
        }

        return texts;
    }

    /// <summary>The mapping of texts under a key; empty when it is not there.</summary>
    public Dictionary<string, (string Value, int Line)> TextMap(YamlNode? node, string key, string what)
    {
        var map = new Dictionary<string, (string, int)>(StringComparer.Ordinal);
        foreach ((string name, YamlNode at, YamlNode value) in Entries(Get(node, key), $"'{key}' of {what}"))
        {
            if (value is YamlScalarNode { Value: { } text }) map[name] = (text, LineOf(at));
            else Error(value, $"'{name}' in '{key}' of {what} must be a text.");
        }

        return map;
    }

    private static bool IsNull(YamlNode node) => node is YamlScalarNode { Style: ScalarStyle.Plain, Value: null or "" or "~" or "null" };
}
