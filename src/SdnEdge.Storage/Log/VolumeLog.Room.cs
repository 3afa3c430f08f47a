using SdnEdge.Core.Replication;

namespace SdnEdge.Storage.Log;

public sealed partial class VolumeLog
{
    /// <summary>Whether a record with so many bytes behind its header can be appended now.</summary>
    internal bool HasRoom(int payload)
    {
        var probe = new LogRecord(1, 0, LogRecordKind.Mark, 0, payload, 0, 0);
        lock (Gate)
        {
            var segment = _segments[^1];
            return segment.End + LogRecordCodec.SizeOnDisk(probe) <= segment.Header.Size || _ready.Count > 0;
        }
    }
}
