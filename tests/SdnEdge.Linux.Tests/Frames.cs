using System.Buffers.Binary;
using SdnEdge.Core.Forwarding;
using SdnEdge.Testing;

namespace SdnEdge.Linux.Tests;

/// <summary>Frames for the tests of this project.</summary>
internal static class Frames
{
    /// <summary>
    /// An Ethernet frame of an EtherType nobody handles, of which length and bytes follow from <paramref name="number"/>.
    /// </summary>
    public static byte[] Numbered(int number)
    {
        byte[] frame = new byte[64 + (number * 19 % 1400)];
        for (int i = 0; i < frame.Length; i++) frame[i] = (byte)((i * 7) + number);
        new byte[] { 0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x88, 0xb5 }.CopyTo(frame, 0);
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(14), number);
        return frame;
    }

    /// <summary>Receives what comes in time and must be <paramref name="count"/> frames in one go.</summary>
    public static int ReceiveSome(IFdPort port, PacketBatch batch, int count)
    {
        int got = ReceiveAny(port, batch);
        return got == count ? got : throw new InvalidOperationException($"{got} frames came in one go, {count} were wanted");
    }

    /// <summary>Waits for the port to be readable and receives; 0 when nothing came in time.</summary>
    public static int ReceiveAny(IFdPort port, PacketBatch batch)
    {
        long deadline = Monotonic.Now + Patience.Nanoseconds;
        for (long left = Patience.Nanoseconds; left > 0; left = deadline - Monotonic.Now)
        {
            if (!Libc.WaitReadable(port.Fd, left)) continue;
            int count = port.Receive(batch);
            if (count > 0) return count;
        }

        return 0;
    }
}
