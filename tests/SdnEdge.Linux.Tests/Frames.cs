using System.Buffers.Binary;
using SdnEdge.Core.Forwarding;

namespace SdnEdge.Linux.Tests;

/// <summary>Frames for the tests of this project.</summary>
internal static class Frames
{
    /// <summary>An Ethernet frame of an EtherType nobody handles, of which length and bytes follow from <paramref name="number"/>.</summary>
    public static byte[] Numbered(int number)
    {
        byte[] frame = new byte[64 + (number * 19 % 1400)];
        for (int i = 0; i < frame.Length; i++) frame[i] = (byte)((i * 7) + number);
        new byte[] { 0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x88, 0xb5 }.CopyTo(frame, 0);
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(14), number);
        return frame;
    }

    /// <summary>Waits at most two seconds for the port to be readable and receives; for at least <paramref name="atLeast"/> frames that come in one go.</summary>
    public static int ReceiveSome(IFdPort port, PacketBatch batch, int atLeast)
    {
        using var epoll = new Epoll();
        epoll.Add(port.Fd, EpollEvents.In, 1);
        long deadline = Monotonic.Now + 2_000_000_000;
        do
        {
            epoll.Wait(Math.Max(0, deadline - Monotonic.Now));
            int count = port.Receive(batch);
            if (count >= atLeast) return count;
            if (count > 0) throw new InvalidOperationException($"{count} frames came in one go, {atLeast} were wanted");
        }
        while (Monotonic.Now < deadline);
        return 0;
    }
}
