using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using SdnEdge.Core.Bfd;

namespace SdnEdge.Bfd;

/// <summary>
/// Messages between a BFD process and its owner, a PE or a host's agent: kind, version, then values as they lie in memory.
/// </summary>
public enum BfdMessageKind : byte
{
    /// <summary>Owner to BFD, a <see cref="BfdOrder"/>: have this session, as told here. Answered by Status or Failed. In a VRF with the
    /// descriptor of its network namespace.</summary>
    Watch = 1,

    /// <summary>Owner to BFD, a <see cref="BfdKey"/>: do not have it.</summary>
    Forget,

    /// <summary>Owner to BFD: tell the peers AdminDown and end.</summary>
    Stop,

    /// <summary>BFD to owner, a <see cref="BfdStatus"/>: a session has changed, or a second has passed.</summary>
    Status,

    /// <summary>BFD to owner, a <see cref="BfdOrder"/> and a text: the session cannot be had.</summary>
    Failed,

    /// <summary>BFD to owner, a <see cref="BfdHealth"/> and the discards by reason: each second.</summary>
    Health,
}

/// <summary>A session that the owner wants.</summary>
/// <param name="Number">Names the order: what is told of an earlier one's session is not of this one's.</param>
/// <param name="Key">Whom it watches.</param>
/// <param name="Parameters">How.</param>
/// <param name="AdminDown">It is held down.</param>
/// <param name="ControlPlaneIndependent">It goes on when the owner ends; the peer is told.</param>
/// <param name="Device">Index of the kernel device that a link-local peer is reached by; 0: the address is enough.</param>
public readonly record struct BfdOrder(uint Number, BfdKey Key, BfdParameters Parameters, bool AdminDown, bool ControlPlaneIndependent,
    int Device = 0);

/// <summary>
/// Puts messages into bytes and takes them out. Both ends are the same program, but perhaps not of the same day: a PE that was
/// replaced and restarted may find the BFD process of the one before. A message of another version is not read.
/// </summary>
internal static class BfdMessage
{
    private const int HeaderBytes = 2, MaxTextBytes = 2048;

    /// <summary>Changes with what is sent; the sizes catch most of what is forgotten here.</summary>
    private static readonly byte Version =
        (byte)(1 + (31 * Unsafe.SizeOf<BfdOrder>()) + (17 * Unsafe.SizeOf<BfdStatus>()) + (7 * Unsafe.SizeOf<BfdHealth>())
            + BfdLimits.DiscardReasons);

    /// <summary>A message without values.</summary>
    public static byte[] Plain(BfdMessageKind kind) => [(byte)kind, Version];

    /// <summary>A message with one value, and bytes after it.</summary>
    public static byte[] Of<T>(BfdMessageKind kind, in T value, ReadOnlySpan<byte> rest = default)
        where T : unmanaged
    {
        byte[] message = new byte[HeaderBytes + Unsafe.SizeOf<T>() + rest.Length];
        (message[0], message[1]) = ((byte)kind, Version);
        MemoryMarshal.Write(message.AsSpan(HeaderBytes), in value);
        rest.CopyTo(message.AsSpan(HeaderBytes + Unsafe.SizeOf<T>()));
        return message;
    }

    /// <summary>The answer to an order that cannot be carried out.</summary>
    public static byte[] Failed(in BfdOrder order, string why)
    {
        byte[] text = Encoding.UTF8.GetBytes(why);
        return Of(BfdMessageKind.Failed, order, text.AsSpan(0, Math.Min(text.Length, MaxTextBytes)));
    }

    /// <summary>How the thread fares.</summary>
    public static byte[] Health(in BfdHealth health, ReadOnlySpan<long> discards)
        => Of(BfdMessageKind.Health, health, MemoryMarshal.AsBytes(discards));

    /// <summary>What a message is; 0 when it is of another version.</summary>
    public static BfdMessageKind KindOf(ReadOnlySpan<byte> message) => message.Length >= HeaderBytes && message[1] == Version
        ? (BfdMessageKind)message[0] : 0;

    /// <summary>The value of a message of this version, and what stands after it.</summary>
    public static T Read<T>(ReadOnlySpan<byte> message, out ReadOnlySpan<byte> rest)
        where T : unmanaged
    {
        rest = message[(HeaderBytes + Unsafe.SizeOf<T>())..];
        return MemoryMarshal.Read<T>(message[HeaderBytes..]);
    }

    /// <inheritdoc cref="Read{T}(ReadOnlySpan{byte}, out ReadOnlySpan{byte})"/>
    public static T Read<T>(ReadOnlySpan<byte> message)
        where T : unmanaged => Read<T>(message, out _);
}
