using System.Diagnostics.Metrics;
using System.Globalization;
using System.Text;

namespace SdnEdge.Web;

/// <summary>What a metric's value means.</summary>
public enum MetricKind
{
    /// <summary>Only grows; its name ends in _total.</summary>
    Counter,
    /// <summary>Goes up and down.</summary>
    Gauge,
}

/// <summary>One value of a metric with its labels.</summary>
/// <param name="Value">The value, in the unit its family's name says.</param>
/// <param name="Labels">Label names and values.</param>
public readonly record struct MetricSample(double Value, params (string Name, string Value)[] Labels);

/// <summary>A metric: name with unit, what it says, its values.</summary>
/// <param name="Name">Prometheus name: base unit in the name, counters end in _total.</param>
/// <param name="Help">One sentence.</param>
/// <param name="Kind">Counter or gauge.</param>
/// <param name="Samples">Values.</param>
public sealed record MetricFamily(string Name, string Help, MetricKind Kind, IReadOnlyList<MetricSample> Samples);

/// <summary>Writes metrics in the Prometheus text format, version 0.0.4.</summary>
public static class PrometheusText
{
    /// <summary>Content type of the text.</summary>
    public const string ContentType = "text/plain; version=0.0.4; charset=utf-8";

    /// <summary>The text for all families.</summary>
    public static string Write(IEnumerable<MetricFamily> families)
    {
        var text = new StringBuilder();
        foreach (MetricFamily family in families)
        {
            text.Append("# HELP ").Append(family.Name).Append(' ').Append(Escape(family.Help, quotes: false)).Append('\n');
            text.Append("# TYPE ").Append(family.Name).Append(family.Kind == MetricKind.Counter ? " counter\n" : " gauge\n");
            foreach (MetricSample sample in family.Samples)
            {
                text.Append(family.Name);
                for (int i = 0; i < sample.Labels.Length; i++)
                {
                    text.Append(i == 0 ? '{' : ',').Append(sample.Labels[i].Name).Append("=\"").Append(Escape(sample.Labels[i].Value,
                        quotes: true)).Append('"');
                }

                if (sample.Labels.Length > 0) text.Append('}');
                text.Append(' ').Append(sample.Value.ToString("R", CultureInfo.InvariantCulture)).Append('\n');
            }
        }

        return text.ToString();
    }

    private static string Escape(string text, bool quotes)
    {
        text = text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal);
        return quotes ? text.Replace("\"", "\\\"", StringComparison.Ordinal) : text;
    }
}

/// <summary>
/// The same metrics as <see cref="System.Diagnostics.Metrics"/> instruments, for OTLP export and dotnet-counters. Values are
/// read when a listener collects; nothing is counted twice.
/// </summary>
public sealed class MeterBridge : IDisposable
{
    /// <summary>Name of the meter.</summary>
    public const string MeterName = "SdnEdge.Router";

    private readonly Meter _meter = new(MeterName);
    private readonly Func<IReadOnlyList<MetricFamily>> _collect;
    private readonly Lock _lock = new();
    private IReadOnlyList<MetricFamily> _last = [];
    private long _lastAt = -1000;

    /// <summary>Makes an instrument for each family that <paramref name="collect"/> gives now.</summary>
    public MeterBridge(Func<IReadOnlyList<MetricFamily>> collect)
    {
        _collect = collect;
        foreach (MetricFamily family in collect())
        {
            string name = family.Name;
            if (family.Kind == MetricKind.Counter) _meter.CreateObservableCounter(name, () => Measure(name), description: family.Help);
            else _meter.CreateObservableGauge(name, () => Measure(name), description: family.Help);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _meter.Dispose();

    private IEnumerable<Measurement<double>> Measure(string name)
    {
        // A collection asks for each instrument in turn: read the PE once for all of them.
        IReadOnlyList<MetricFamily> families;
        lock (_lock)
        {
            long now = Environment.TickCount64;
            if (now - _lastAt > 100) (_last, _lastAt) = (_collect(), now);
            families = _last;
        }

        foreach (MetricFamily family in families)
        {
            if (family.Name != name) continue;
            foreach (MetricSample sample in family.Samples)
            {
                yield return new Measurement<double>(sample.Value,
                    sample.Labels.Select(l => new KeyValuePair<string, object?>(l.Name, l.Value)));
            }
        }
    }
}
