namespace SdnEdge.Core.Forwarding;

/// <summary>
/// Where frames enter and leave a router. Batch-shaped: one virtual call a batch, none a packet.
/// <see cref="Receive"/> is called by one worker only; <see cref="Transmit"/> may be called by any worker at once.
/// </summary>
public interface IPort
{
    /// <summary>Name of the port in configuration and counters.</summary>
    string Name { get; }

    /// <summary>True when superpackets and partial checksums may be handed to <see cref="Transmit"/> as they are.</summary>
    bool SegmentsForUs { get; }

    /// <summary>Fills the batch from slot 0 without waiting and sets its Count. Returns the count; 0 when nothing is there now.</summary>
    int Receive(PacketBatch batch);

    /// <summary>Sends the frames in order. Returns how many the device took; the rest are lost and counted by the caller as
    /// <see cref="DropReason.TransmitFailed"/>.</summary>
    int Transmit(ReadOnlySpan<Packet> packets);
}
