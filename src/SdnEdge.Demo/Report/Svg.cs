using System.Globalization;
using System.Net;
using System.Text;

namespace SdnEdge.Demo.Report;

/// <summary>Writes SVG elements. Colours come by class from the page's style sheet, so that light and dark both work.</summary>
internal sealed class Svg(double width, double height, string label)
{
    private readonly StringBuilder body = new();

    public static string N(double v) => Math.Round(v, 1).ToString(CultureInfo.InvariantCulture);

    public void Rect(double x, double y, double w, double h, string cls, string? title = null, double radius = 0) => body.Append(
        CultureInfo.InvariantCulture,
        $"<rect x=\"{N(x)}\" y=\"{N(y)}\" width=\"{N(Math.Max(w, 0))}\" height=\"{N(Math.Max(h, 0))}\" rx=\"{N(radius)}\" "
            + $"class=\"{cls}\">{Title(title)}</rect>\n");

    public void Line(double x1, double y1, double x2, double y2, string cls) => body.Append(
        CultureInfo.InvariantCulture, $"<line x1=\"{N(x1)}\" y1=\"{N(y1)}\" x2=\"{N(x2)}\" y2=\"{N(y2)}\" class=\"{cls}\"/>\n");

    public void Text(double x, double y, string text, string cls, string anchor = "start") => body.Append(
        CultureInfo.InvariantCulture, $"<text x=\"{N(x)}\" y=\"{N(y)}\" class=\"{cls}\" text-anchor=\"{anchor}\">{Escape(text)}</text>\n");

    public void Path(string d, string cls, string? title = null) =>
        body.Append(CultureInfo.InvariantCulture, $"<path d=\"{d}\" class=\"{cls}\">{Title(title)}</path>\n");

    public void Circle(double x, double y, double r, string cls) => body.Append(
        CultureInfo.InvariantCulture, $"<circle cx=\"{N(x)}\" cy=\"{N(y)}\" r=\"{N(r)}\" class=\"{cls}\"/>\n");

    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"<svg viewBox=\"0 0 {N(width)} {N(height)}\" role=\"img\" aria-label=\"{Escape(label)}\">\n{body}</svg>\n");

    public static string Escape(string text) => WebUtility.HtmlEncode(text);

    private static string Title(string? title) => title is null ? "" : $"<title>{Escape(title)}</title>";
}
