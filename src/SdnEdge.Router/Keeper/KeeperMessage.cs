using System.Text;
using SdnEdge.Linux;

namespace SdnEdge.Router.Keeper;

/// <summary>Messages between keeper and PE: the kind is the first byte.</summary>
internal enum KeeperMessageKind : byte
{
    /// <summary>
    /// Either way, with a descriptor: a port's device. Keeper to PE before <see cref="Start"/>: take it instead of opening one.
    /// </summary>
    Device = 1,

    /// <summary>PE to keeper: a port's device is to be closed. Answered by <see cref="Forgotten"/>.</summary>
    Forget,

    /// <summary>Keeper to PE: the keeper does not have the device any more.</summary>
    Forgotten,

    /// <summary>Either way: a frame of the mirror. Keeper to PE: ports, neighbours and tunnels as they are at the hand-over.</summary>
    Mirror,

    /// <summary>Keeper to PE, first: who forwards.</summary>
    Start,

    /// <summary>PE to keeper: I can forward.</summary>
    Ready,

    /// <summary>Keeper to PE: I forward no more, you do.</summary>
    Granted,

    /// <summary>Keeper to PE: the mirror is damaged, send everything.</summary>
    Resync,

    /// <summary>PE to keeper: I stop, because I was told to.</summary>
    Bye,

    /// <summary>
    /// Either way, with a descriptor: the PE's end of a channel to a process that outlives it, by name. Keeper to PE before
    /// <see cref="Start"/>.
    /// </summary>
    Channel,
}

/// <summary>What a keeper has done so far.</summary>
/// <param name="Standby">The keeper forwards now.</param>
/// <param name="Takeovers">Times it took over.</param>
/// <param name="Packets">Packets it forwarded.</param>
/// <param name="Dropped">Packets it dropped, any reason.</param>
/// <param name="LastReignNs">How long the last time took, from the PE's end to the hand-over, nanoseconds; 0: none yet.</param>
/// <param name="Prefixes">Prefixes in the tables by which it forwards.</param>
internal readonly record struct KeeperRecord(bool Standby, long Takeovers, long Packets, long Dropped, long LastReignNs, long Prefixes = 0);

/// <summary>Puts messages into bytes and takes them out.</summary>
internal static class KeeperMessage
{
    public static byte[] Plain(KeeperMessageKind kind) => [(byte)kind];

    public static byte[] Device(TapPort port) => Write(KeeperMessageKind.Device, w =>
    {
        w.Write(port.Name);
        w.Write(port.Device);
        w.Write((uint)port.Offloads);
        w.Write(port.SegmentsForUs);
    });

    public static byte[] Forget(string port) => Write(KeeperMessageKind.Forget, w => w.Write(port));

    public static byte[] Channel(string name) => Write(KeeperMessageKind.Channel, w => w.Write(name));

    public static byte[] Record(KeeperMessageKind kind, in KeeperRecord record)
    {
        KeeperRecord r = record;
        return Write(kind, w =>
        {
            w.Write(r.Standby);
            w.Write(r.Takeovers);
            w.Write(r.Packets);
            w.Write(r.Dropped);
            w.Write(r.LastReignNs);
            w.Write(r.Prefixes);
        });
    }

    public static byte[] Mirror(byte[] frame)
    {
        byte[] message = new byte[frame.Length + 1];
        message[0] = (byte)KeeperMessageKind.Mirror;
        frame.CopyTo(message, 1);
        return message;
    }

    /// <summary>The port of a Device message; null when the message is damaged (the descriptor is closed then).</summary>
    public static TapPort? ReadDevice(ReadOnlySpan<byte> message, int descriptor) => Read(message, r =>
    {
        (string name, string device, uint offloads, bool segments) = (r.ReadString(), r.ReadString(), r.ReadUInt32(), r.ReadBoolean());
        return descriptor < 0 ? null : TapPort.Adopt(name, device, descriptor, (TapOffloads)offloads, segments);
    });

    public static string? ReadName(ReadOnlySpan<byte> message) => Read(message, r => r.ReadString());

    public static KeeperRecord ReadRecord(ReadOnlySpan<byte> message)
        => Read<object>(message,
            r => new KeeperRecord(r.ReadBoolean(), r.ReadInt64(), r.ReadInt64(), r.ReadInt64(), r.ReadInt64(),
                r.ReadInt64())) is KeeperRecord record ? record : default;

    private static byte[] Write(KeeperMessageKind kind, Action<BinaryWriter> write)
    {
        using var stream = new MemoryStream();
        stream.WriteByte((byte)kind);
        using var writer = new BinaryWriter(stream, Encoding.UTF8);
        write(writer);
        writer.Flush();
        return stream.ToArray();
    }

    private static T? Read<T>(ReadOnlySpan<byte> message, Func<BinaryReader, T?> read)
        where T : class
    {
        using var reader = new BinaryReader(new MemoryStream(message[1..].ToArray()), Encoding.UTF8);
        try
        {
            return read(reader);
        }
        catch (Exception e) when (e is EndOfStreamException or IOException or DecoderFallbackException or FormatException)
        {
            return null;
        }
    }
}
