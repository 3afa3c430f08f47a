namespace SdnEdge.Host.Qmp;

/// <summary>Something went wrong with QEMU's monitor. The message is for people: programs decide by the type.</summary>
/// <param name="message">What, and at which socket.</param>
/// <param name="inner">The cause; null = none.</param>
public class QmpException(string message, Exception? inner = null) : IOException(message, inner);

/// <summary>The monitor is not there, speaks no QMP, or the connection has ended. What was sent may have been executed or not.</summary>
/// <param name="message">What, and at which socket.</param>
/// <param name="inner">The cause; null = none.</param>
public sealed class QmpDisconnectedException(string message, Exception? inner = null) : QmpException(message, inner);

/// <summary>QEMU refused a command.</summary>
/// <param name="command">The command.</param>
/// <param name="errorClass">QEMU's error class, e.g. <c>GenericError</c>, <c>CommandNotFound</c>.</param>
/// <param name="description">QEMU's own words: shown to people, never parsed.</param>
/// <param name="socket">The monitor's socket.</param>
public sealed class QmpCommandException(string command, string errorClass, string description, string socket)
    : QmpException($"QEMU at {socket} refused {command}: {description} ({errorClass})")
{
    /// <summary>The command.</summary>
    public string Command { get; } = command;

    /// <summary>QEMU's error class.</summary>
    public string ErrorClass { get; } = errorClass;
}

/// <summary>An answer or event did not come by its deadline. What was asked may still be executed; a late answer is dropped.</summary>
/// <param name="message">What was awaited, where, and for how long.</param>
public sealed class QmpTimeoutException(string message) : QmpException(message);
