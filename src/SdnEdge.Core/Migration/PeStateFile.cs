using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
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
        ArgumentNullException.ThrowIfNull(snapshot);
        var body = new PeStateBody(node,
            [.. snapshot.Migrations.Select(k => Text(k.Migration, k.Replies))],
            [.. snapshot.Prefixes.GroupBy(r => r with { Prefix = default }).Select(g => new PeStatePrefixes(g.Key.Vrf, g.Key.Epoch,
                g.Key.By, g.Key.Last, g.Key.Ended, g.Key.Place, [.. g.Select(r => r.Prefix.ToString())]))],
            snapshot.Ended);
        byte[] json = JsonSerializer.SerializeToUtf8Bytes(body,
            (JsonTypeInfo<PeStateBody>)ApiJson.Options.GetTypeInfo(typeof(PeStateBody)));
        byte[] line = Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture,
            $"{Magic} {Version} {Convert.ToHexStringLower(SHA256.HashData(json))}\n"));
        return [.. line, .. json];
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
                [.. body.Prefixes.SelectMany(g => g.Prefixes.Select(p => new PrefixRecord(g.Vrf, IpPrefix.Parse(p), g.Epoch, g.By, g.Last,
                    g.Ended, g.Place)))],
                body.Ended);
        }
        catch (Exception e) when (e is JsonException or FormatException or ArgumentNullException or NullReferenceException)
        {
            why = $"its checksum is right and its contents are not: {e.Message}";
            return null;
        }
    }

    private static PeStateMigration Text(PeMigration m, IReadOnlyList<SignalReply> replies) => new(
        m.Id, m.Role, m.State, m.Epoch, m.Vrf, m.Prefixes.Texts, m.Peer.IsNone ? null : m.Peer.ToString(), m.TunnelKey, m.Hold,
            m.LocalPref, m.Drained, m.ChangedAtNs, m.Order, m.Move, replies, m.KeepBackMs);

    private static PeMigration Read(PeStateMigration m) => new(
        m.Id, m.Role, m.State, m.Epoch, m.Vrf, PrefixSet.Parse(m.Prefixes), m.Peer is { } peer ? IpAddress.Parse(peer) : default,
            m.TunnelKey, m.Hold, m.LocalPref,
        TunnelUp: false, m.Drained, m.ChangedAtNs, m.Order, m.Move, m.KeepBackMs);
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
    string Id, MigrationRole Role, PeMigrationState State, long Epoch, string Vrf, IReadOnlyList<MovingPrefix> Prefixes, string? Peer,
        uint TunnelKey, HoldOptions Hold,
    uint? LocalPref, bool Drained, long ChangedAtNs, OrderOptions? Order, long? Move, IReadOnlyList<SignalReply> Replies,
    int KeepBackMs = 0);

/// <summary>Prefixes in the state file: see <see cref="PrefixRecord"/>.</summary>
internal sealed record PeStatePrefixes(
    string Vrf, long Epoch, string By, string? Last, PeMigrationState? Ended, PrefixPlace? Place, IReadOnlyList<string> Prefixes);
