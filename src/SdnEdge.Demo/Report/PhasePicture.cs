namespace SdnEdge.Demo.Report;

/// <summary>Figure 1 of the paper in small: where the packets go (a) before, (b) during and (c) after the move. Pure.</summary>
internal static class PhasePicture
{
    public static string Draw(char phase, long? held)
    {
        var svg = new Svg(340, 214, phase switch
        {
            'a' => "Before: the ingress PEs reach the server at A through PE a",
            'b' => "During: PE a sends through the tunnel to PE b, which holds packets until the server is there",
            _ => "After: the ingress PEs reach the server at B through PE b directly",
        });

        // Ways first, nodes over them.
        string idle = "way-idle";
        string live = "way-live";
        (double x, double y) a = (70, 118), b = (270, 118);
        double[] ingress = [100, 170, 240];
        foreach (double x in ingress)
        {
            svg.Line(x, 42, a.x, a.y - 14, phase is 'a' or 'b' ? live : idle);
            svg.Line(x, 42, b.x, b.y - 14, phase is 'c' ? live : idle);
        }

        svg.Line(a.x, a.y + 14, a.x, 172, phase == 'a' ? live : idle);
        svg.Line(b.x, b.y + 14, b.x, 172, phase == 'c' ? live : phase == 'b' ? "way-held" : idle);
        if (phase == 'b')
        {
            svg.Line(a.x + 34, a.y, b.x - 34, b.y, "way-tunnel");
            svg.Text(170, a.y - 9, "tunnel", "fig-note", "middle");
            svg.Text(b.x - 12, 156, held is { } n ? $"{n:N0} held, then released" : "no hold", "fig-note", "end");
        }

        foreach ((double x, string name) in ingress.Zip(["pe-c", "pe-d", "pe-e"]))
        {
            Node(svg, x, 28, name, 27);
        }

        Node(svg, a.x, a.y, "pe-a", 34);
        Node(svg, b.x, b.y, "pe-b", 34);
        Site(svg, a.x, "data centre A", phase == 'a' ? "server" : null, phase == 'b');
        Site(svg, b.x, "data centre B", phase == 'c' ? "server" : null, phase == 'b');
        if (phase == 'b')
        {
            svg.Rect(142, 174, 56, 20, "server-moving", null, 5);
            svg.Text(170, 188, "server", "fig-server", "middle");
            svg.Path("M122 184h14m-5-4l5 4-5 4M204 184h14m-5-4l5 4-5 4", "move-arrow");
        }

        return svg.ToString();
    }

    private static void Node(Svg svg, double x, double y, string name, double half)
    {
        svg.Rect(x - half, y - 14, half * 2, 28, "node", null, 7);
        svg.Text(x, y + 4.5, name, "fig-node", "middle");
    }

    private static void Site(Svg svg, double x, string name, string? server, bool dashed)
    {
        svg.Rect(x - 48, 172, 96, 24, dashed ? "site-empty" : "site", null, 6);
        if (server is not null)
        {
            svg.Rect(x - 28, 174, 56, 20, "server", null, 5);
            svg.Text(x, 188, server, "fig-server", "middle");
        }

        svg.Text(x, 210, name, "fig-note", "middle");
    }
}
