using System.Buffers;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using SdnEdge.Core.Api;
using SdnEdge.Core.Wire;

namespace SdnEdge.Core.Migration;

/// <summary>
/// The bytes of the file in which a PE keeps its migrations. One line, then JSON:
/// <code>
/// sdnedge-pe-state 1 SHA-256-of-what-follows-the-line-in-hex
/// { "node": "pe-a", "migrations": [...], "prefixes": [...], "ended": [...] }
/// </code>
/// A file is taken whole or not at all.
/// </summary>
public static class PeStateFile
{
    /// <summary>Version that is written, and the highest that is read.</summary>
    public const int Version = 1;

    private const string Magic = "sdnedge-pe-state";

    /// <summary>The bytes of a snapshot.</summary>
    /// <param name="snapshot">The snapshot.</param>
    /// <param name="node">Name of the PE.</param>
    public static byte[] Write(PeSnapshot snapshot, string node)
    {
        var bytes = new ArrayBufferWriter<byte>();
        return Write(snapshot, node, bytes).ToArray();
    }

    /// <summary>The bytes of a snapshot, in a buffer that may be used again for the next one: with very many prefixes they are some
    /// megabytes.</summary>
    /// <param name="snapshot">The snapshot.</param>
    /// <param name="node">Name of the PE.</param>
    /// <param name="into">The buffer; what it has is gone. The bytes are good until it is used again.</param>
    public static ReadOnlySpan<byte> Write(PeSnapshot snapshot, string node, ArrayBufferWriter<byte> into)
    {
        ArgumentNullException.ThrowIfNull(snapshot);
        ArgumentNullException.ThrowIfNull(into);
        var body = new PeStateBody(node, [.. snapshot.Migrations.Select(k => Text(k.Migration, k.Replies))],
            [.. SamePast(snapshot.Prefixes).Select(g => new PeStatePrefixes(g.Past.Vrf, g.Past.Epoch, g.Past.By, g.Past.Last, g.Past.Ended,
                g.Past.Place, g.Prefixes))], snapshot.Ended);

        // The line has the same length whatever its checksum, which comes last.
        into.ResetWrittenCount();
        into.Write(Line(new byte[SHA256.HashSizeInBytes]));
        int line = into.WrittenCount;
        using (var json = new Utf8JsonWriter(into)) JsonSerializer.Serialize(json, body, ApiJson.Options.For<PeStateBody>());
        Span<byte> all = MemoryMarshal.AsMemory(into.WrittenMemory).Span;
        Line(SHA256.HashData(all[line..])).CopyTo(all);
        return all;
    }

    private static byte[] Line(byte[] checksum) => Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture,
        $"{Magic} {Version} {Convert.ToHexStringLower(checksum)}\n"));

    // Prefixes of which the same is known, together; those of a migration mostly follow one another.
    private static List<(PrefixRecord Past, List<IpPrefix> Prefixes)> SamePast(IReadOnlyList<PrefixRecord> records)
    {
        var groups = new List<(PrefixRecord Past, List<IpPrefix> Prefixes)>();
        var known = new Dictionary<PrefixRecord, List<IpPrefix>>();
        PrefixRecord last = default;
        List<IpPrefix> prefixes = [];
        for (int i = 0; i < records.Count; i++)
        {
            PrefixRecord past = records[i] with { Prefix = default };
            if (i == 0 || past != last)
            {
                if (!known.TryGetValue(past, out List<IpPrefix>? same))
                {
                    known.Add(past, same = []);
                    groups.Add((past, same));
                }

                (last, prefixes) = (past, same);
            }

            prefixes.Add(records[i].Prefix);
        }

        return groups;
    }

    /// <summary>Reads a file; null when it cannot be trusted, with the reason in <paramref name="why"/>.</summary>
    /// <param name="bytes">The whole file.</param>
    /// <param name="node">Name of the PE.</param>
    /// <param name="why">What is wrong; empty when nothing is.</param>
    public static PeSnapshot? Read(ReadOnlySpan<byte> bytes, string node, out string why)
    {
        int end = bytes.IndexOf((byte)'\n');
        string[] words = end < 0 ? [] : Encoding.ASCII.GetString(bytes[..end]).Split(' ');
        int version = 0;
        bool known = words.Length == 3 && words[0] == Magic
            && int.TryParse(words[1], NumberStyles.None, CultureInfo.InvariantCulture, out version);
        why = !known ? "it is not the state file of a PE"
            : version > Version ? $"it is of version {version}, written by a newer program; this one reads up to version {Version}"
            : words[2] != Convert.ToHexStringLower(SHA256.HashData(bytes[(end + 1)..])) ?
                "its checksum is wrong: it was cut short or changed"
            : "";
        if (why.Length > 0) return null;
        try
        {
            PeStateBody body = JsonSerializer.Deserialize(bytes[(end + 1)..],
                (JsonTypeInfo<PeStateBody>)ApiJson.Options.GetTypeInfo(typeof(PeStateBody)))!;
            if (body.Node != node)
            {
                why = $"it belongs to PE '{body.Node}', and this is '{node}'";
                return null;
            }

            return new PeSnapshot(
                [.. body.Migrations.Select(m => new KeptMigration(Read(m), m.Replies))],
                [.. body.Prefixes.SelectMany(g => g.Prefixes.Select(p => new PrefixRecord(g.Vrf, p, g.Epoch, g.By, g.Last, g.Ended,
                    g.Place)))],
                body.Ended);
        }
        catch (Exception e) when (e is JsonException or FormatException or ArgumentNullException or NullReferenceException)
        {
            why = $"its checksum is right and its contents are not: {e.Message}";
            return null;
        }
    }

    private static PeStateMigration Text(PeMigration m, IReadOnlyList<SignalReply> replies) => new(
        m.Id, m.Role, m.State, m.Epoch, m.Vrf, m.Prefixes, m.Peer.IsNone ? null : m.Peer.ToString(), m.TunnelKey, m.Hold,
            m.LocalPref, m.Drained, m.ChangedAtNs, m.Order, m.Move, replies, m.KeepBackMs, m.Watch, m.BackupLocalPref,
            m.BackupExcept);

    private static PeMigration Read(PeStateMigration m) => new(
        m.Id, m.Role, m.State, m.Epoch, m.Vrf, m.Prefixes, m.Peer is { } peer ? IpAddress.Parse(peer) : default,
            m.TunnelKey, m.Hold, m.LocalPref,
        TunnelUp: false, m.Drained, m.ChangedAtNs, m.Order, m.Move, m.KeepBackMs, m.Watch, m.BackupLocalPref, m.BackupExcept);
}

/// <summary>The JSON of the state file.</summary>
/// <param name="Node">Name of the PE.</param>
/// <param name="Migrations">Migrations, oldest first.</param>
/// <param name="Prefixes">Prefixes of which the same is known, together.</param>
/// <param name="Ended">Migrations that are over, in the order of their ends; not in files of earlier versions.</param>
internal sealed record PeStateBody(
    string Node, IReadOnlyList<PeStateMigration> Migrations, IReadOnlyList<PeStatePrefixes> Prefixes,
    IReadOnlyList<string>? Ended = null);

/// <summary>A migration in the state file: see <see cref="PeMigration"/>.</summary>
internal sealed record PeStateMigration(
    string Id, MigrationRole Role, PeMigrationState State, long Epoch, string Vrf,
    [property: JsonConverter(typeof(PrefixSetJson))] PrefixSet Prefixes, string? Peer, uint TunnelKey, HoldOptions Hold,
    uint? LocalPref, bool Drained, long ChangedAtNs, OrderOptions? Order, long? Move, IReadOnlyList<SignalReply> Replies,
    int KeepBackMs = 0, IReadOnlyList<WatchedPart>? Watch = null, uint? BackupLocalPref = null,
    [property: JsonConverter(typeof(PrefixListJson))] IReadOnlyList<IpPrefix>? BackupExcept = null);

/// <summary>Prefixes in the state file: see <see cref="PrefixRecord"/>.</summary>
internal sealed record PeStatePrefixes(
    string Vrf, long Epoch, string By, string? Last, PeMigrationState? Ended, PrefixPlace? Place,
    [property: JsonConverter(typeof(PrefixListJson))] IReadOnlyList<IpPrefix> Prefixes);

/// <summary>Prefixes as a list of texts; none of them is made an object of its own.</summary>
internal sealed class PrefixListJson : JsonConverter<IReadOnlyList<IpPrefix>>
{
    /// <inheritdoc/>
    public override IReadOnlyList<IpPrefix> Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType != JsonTokenType.StartArray) throw new JsonException("a list of prefixes is wanted");
        var prefixes = new List<IpPrefix>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray) prefixes.Add(IpPrefix.Parse(reader.GetString()!));
        return prefixes;
    }

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, IReadOnlyList<IpPrefix> value, JsonSerializerOptions options)
    {
        Span<char> text = stackalloc char[IpPrefix.MaxTextLength];
        writer.WriteStartArray();
        for (int i = 0; i < value.Count; i++) writer.WriteStringValue(text[..value[i].Format(text)]);
        writer.WriteEndArray();
    }
}

/// <summary>Moving prefixes as the API has them (<see cref="MovingPrefix"/>), without one of those for each.</summary>
internal sealed class PrefixSetJson : JsonConverter<PrefixSet>
{
    /// <inheritdoc/>
    public override PrefixSet Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        => PrefixSet.Parse(JsonSerializer.Deserialize(ref reader, options.For<IReadOnlyList<MovingPrefix>>())!);

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, PrefixSet value, JsonSerializerOptions options)
    {
        Span<char> text = stackalloc char[IpPrefix.MaxTextLength];
        writer.WriteStartArray();
        for (int i = 0; i < value.Count; i++)
        {
            MovedPrefix moved = value[i];
            writer.WriteStartObject();
            writer.WriteString("prefix"u8, text[..moved.Prefix.Format(text)]);
            writer.WriteString("port"u8, moved.Port);
            if (moved.NextHop is { } hop) writer.WriteString("nextHop"u8, hop.ToString());
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }
}
