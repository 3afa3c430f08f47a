using System.Text;

namespace SdnEdge.Lab.Topologies;

/// <summary>Draws a topology for people and for drawing programs.</summary>
public static class GraphWriter
{
    /// <summary>The names of the formats.</summary>
    public static readonly string[] Formats = ["text", "mermaid", "dot"];

    /// <summary>Draws in one of <see cref="Formats"/>.</summary>
    public static string Write(LabTopology lab, string format) => format switch
    {
        "mermaid" => Mermaid(lab),
        "dot" => Dot(lab),
        _ => Text(lab),
    };

    private static string Text(LabTopology lab)
    {
        var text = new StringBuilder($"{lab.Name}: {lab.Nodes.Count} nodes, {lab.Links.Count} links\n");
        int width = lab.Links.Count == 0 ? 0 : lab.Links.Max(l => Math.Max(l.A.Interface.Length, l.B.Interface.Length));
        foreach (LabNode node in lab.Nodes)
        {
            text.Append($"\n{node.Name} ({TopologyLoader.WordOf(node.Kind)})\n");
            foreach (LabLink link in lab.LinksOf(node.Name))
                text.Append($"  {link.EndAt(node.Name)!.Interface.PadRight(width)} -- {link.FarEnd(node.Name)}{Vars(link, "  ")}\n");
        }

        return text.ToString();
    }

    private static string Mermaid(LabTopology lab)
    {
        var text = new StringBuilder("graph TD\n");
        foreach (LabNode node in lab.Nodes) text.Append($"  {Id(node.Name)}[\"{node.Name}<br/>{TopologyLoader.WordOf(node.Kind)}\"]\n");
        foreach (LabLink link in lab.Links)
            text.Append($"  {Id(link.A.Node)} ---|\"{link.A.Interface} - {link.B.Interface}{Vars(link, "<br/>")}\"| {Id(link.B.Node)}\n");
        return text.ToString();
    }

    private static string Dot(LabTopology lab)
    {
        var text = new StringBuilder($"graph \"{lab.Name}\" {{\n  node [shape=box];\n");
        foreach (LabNode node in lab.Nodes)
            text.Append($"  \"{node.Name}\" [label=\"{node.Name}\\n{TopologyLoader.WordOf(node.Kind)}\"];\n");
        foreach (LabLink link in lab.Links)
        {
            string ends = $"taillabel=\"{link.A.Interface}\", headlabel=\"{link.B.Interface}\"";
            text.Append($"  \"{link.A.Node}\" -- \"{link.B.Node}\" [{ends}, label=\"{Vars(link, "")}\"];\n");
        }

        return text.Append("}\n").ToString();
    }

    private static string Vars(LabLink link, string before)
    {
        if (link.ToWan is not { } to || link.FromWan is not { } from) return "";
        string text = $"{before}{to.DelayNs / 1e6} ms" + (from.DelayNs == to.DelayNs ? "" : $" in, {from.DelayNs / 1e6} ms out");
        if (to.JitterNs > 0) text += $", jitter {to.JitterNs / 1e6} ms";
        if (to.Loss > 0) text += $", loss {to.Loss * 100} %";
        if (to.RateBitsPerSecond > 0) text += $", {to.RateBitsPerSecond / 1e6} Mbit/s";
        return text;
    }

    private static string Id(string name) => "n_" + new string([.. name.Select(c => char.IsAsciiLetterOrDigit(c) ? c : '_')]);
}
