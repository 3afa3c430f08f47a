namespace SdnEdge.Storage.Nbd;

/// <summary>What connections have done. A connection's own thread adds to its own; a sum is made when somebody asks.</summary>
public sealed class NbdCounters
{
    private const int Kinds = 8;
    private readonly long[] _requests = new long[Kinds], _errors = new long[Kinds];

    /// <summary>Reads answered or under way.</summary>
    public long Reads => _requests[(int)NbdCommand.Read];

    /// <summary>Writes.</summary>
    public long Writes => _requests[(int)NbdCommand.Write];

    /// <summary>Flushes.</summary>
    public long Flushes => _requests[(int)NbdCommand.Flush];

    /// <summary>Trims.</summary>
    public long Trims => _requests[(int)NbdCommand.Trim];

    /// <summary>Zeroings.</summary>
    public long WriteZeroes => _requests[(int)NbdCommand.WriteZeroes];

    /// <summary>Requests to bring a range into memory.</summary>
    public long Caches => _requests[(int)NbdCommand.Cache];

    /// <summary>Requests for the allocation of a range.</summary>
    public long BlockStatuses => _requests[(int)NbdCommand.BlockStatus];

    /// <summary>Bytes read.</summary>
    public long BytesRead { get; private set; }

    /// <summary>Bytes written.</summary>
    public long BytesWritten { get; private set; }

    /// <summary>Replies with an error, of all kinds.</summary>
    public long Errors => _errors.Sum();

    /// <summary>Connections that ended because their bytes made no sense: a wrong magic, unknown flags, TLS that failed.</summary>
    public long ProtocolErrors { get; private set; }

    /// <summary>Calls of a device that left it by an exception: a bug, answered EIO.</summary>
    public long DeviceFaults { get; private set; }

    internal void Request(NbdCommand command, uint length)
    {
        if ((uint)command >= Kinds) return;
        _requests[(int)command]++;
        if (command == NbdCommand.Read) BytesRead += length;
        else if (command == NbdCommand.Write) BytesWritten += length;
    }

    internal void Error(NbdCommand command) => _errors[(int)command < Kinds ? (int)command : (int)NbdCommand.Disconnect]++;

    internal void ProtocolError() => ProtocolErrors++;

    internal void DeviceFault() => DeviceFaults++;

    internal void Add(NbdCounters other)
    {
        for (int i = 0; i < Kinds; i++)
        {
            _requests[i] += Volatile.Read(ref other._requests[i]);
            _errors[i] += Volatile.Read(ref other._errors[i]);
        }

        BytesRead += other.BytesRead;
        BytesWritten += other.BytesWritten;
        ProtocolErrors += other.ProtocolErrors;
        DeviceFaults += other.DeviceFaults;
    }
}
