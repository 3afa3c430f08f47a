using System.ComponentModel;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using SdnEdge.Core.Bfd;
using SdnEdge.Linux;

namespace SdnEdge.Bfd;

/// <summary>What the BFD process said.</summary>
/// <param name="Kind">Which of the others is set.</param>
/// <param name="Status">A session.</param>
/// <param name="Order">The order that could not be carried out.</param>
/// <param name="Why">Why not.</param>
/// <param name="Health">How its thread fares.</param>
/// <param name="Discards">Packets discarded, by reason.</param>
public readonly record struct BfdReport(BfdMessageKind Kind, BfdStatus Status = default, BfdOrder Order = default, string Why = "",
    BfdHealth Health = default, long[]? Discards = null);

/// <summary>
/// The end that a PE or a host's agent has of the way to its BFD process (<see cref="BfdServer"/>). A thread reads; <c>heard</c> and
/// <c>ended</c> are called on it. Orders are sent by one thread, which waits only if the other process has not read thousands of them.
/// </summary>
public sealed class BfdLink : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private readonly ProcessChannel _channel;
    private readonly Process? _process;
    private readonly Thread _reader;
    private readonly Thread? _server;
    private volatile bool _closing;

    private BfdLink(ProcessChannel channel, Action<BfdReport> heard, Action ended, Process? process = null, Thread? server = null)
    {
        (_channel, _process, _server) = (channel, process, server);
        _reader = new Thread(() => Listen(heard, ended)) { IsBackground = true, Name = "bfd-in" };
        _reader.Start();
    }

    /// <summary>Starts a process.</summary>
    /// <param name="program">How it is started, given the descriptor that it inherits; null: its work is done by a thread of this
    /// process.</param>
    /// <param name="heard">Told what it says.</param>
    /// <param name="ended">Told that it has ended, unless that was wanted.</param>
    /// <exception cref="IOException">It could not be started.</exception>
    public static BfdLink Start(Func<int, ProcessStartInfo>? program, Action<BfdReport> heard, Action ended)
    {
        (ProcessChannel channel, int other) = ProcessChannel.Pair();
        if (program is null)
        {
            var own = ProcessChannel.Inherited(other);
            var thread = new Thread(() => Serve(own)) { IsBackground = true, Name = "bfd-server" };
            thread.Start();
            return new BfdLink(channel, heard, ended, server: thread);
        }

        try
        {
            return new BfdLink(channel, heard, ended, Process.Start(program(other)));
        }
        catch (Win32Exception e)
        {
            channel.Dispose();
            throw new IOException($"the BFD process did not start: {e.Message}", e);
        }
        finally
        {
            ProcessChannel.CloseChildEnd(other);
        }
    }

    /// <summary>Goes on with the process of a PE that has ended, of whose end the keeper kept a descriptor.</summary>
    public static BfdLink Attach(int descriptor, Action<BfdReport> heard, Action ended)
        => Over(ProcessChannel.Inherited(descriptor), heard, ended);

    /// <summary>Speaks over a channel that is there.</summary>
    internal static BfdLink Over(ProcessChannel channel, Action<BfdReport> heard, Action ended) => new(channel, heard, ended);

    /// <summary>Does the work of the BFD process: until it is told to stop, or nobody has the other end.</summary>
    public static void Serve(ProcessChannel channel)
    {
        using var server = new BfdServer(channel);
        server.Run();
    }

    /// <summary>Another descriptor of this end, for the keeper.</summary>
    public int Duplicate() => _channel.Duplicate();

    /// <summary>Wants a session, or wants it otherwise. An answer follows.</summary>
    /// <param name="order">The session.</param>
    /// <param name="space">Network namespace of its sockets; null: the process's own.</param>
    public void Watch(in BfdOrder order, SafeHandle? space = null)
    {
        bool held = false;
        try
        {
            space?.DangerousAddRef(ref held);
            _channel.Send(BfdMessage.Of(BfdMessageKind.Watch, order), space is null ? -1 : (int)space.DangerousGetHandle());
        }
        finally
        {
            if (held) space!.DangerousRelease();
        }
    }

    /// <summary>Wants a session no more.</summary>
    public void Forget(BfdKey key) => _channel.Send(BfdMessage.Of(BfdMessageKind.Forget, key));

    /// <summary>Stops the process; peers are told AdminDown. Returns when it has said good-bye, or after a while.</summary>
    public void Dispose()
    {
        if (_closing) return;
        _closing = true;
        _channel.Send(BfdMessage.Plain(BfdMessageKind.Stop));
        _reader.Join(Patience);
        _channel.Dispose();
        _reader.Join();
        _server?.Join();
        if (_process is null) return;
        if (!_process.WaitForExit(Patience)) _process.Kill();
        _process.Dispose();
    }

    private void Listen(Action<BfdReport> heard, Action ended)
    {
        byte[] buffer = new byte[ProcessChannel.MaxMessage];
        int length;
        while ((length = _channel.Receive(buffer, out int descriptor)) > 0)
        {
            ProcessChannel.CloseDescriptor(descriptor);
            ReadOnlySpan<byte> message = buffer.AsSpan(0, length);
            BfdMessageKind kind = BfdMessage.KindOf(message);
            switch (kind)
            {
                case BfdMessageKind.Status:
                    heard(new BfdReport(kind, Status: BfdMessage.Read<BfdStatus>(message)));
                    break;
                case BfdMessageKind.Failed:
                    heard(new BfdReport(kind, Order: BfdMessage.Read<BfdOrder>(message, out ReadOnlySpan<byte> text),
                        Why: Encoding.UTF8.GetString(text)));
                    break;
                case BfdMessageKind.Health:
                    heard(new BfdReport(kind, Health: BfdMessage.Read<BfdHealth>(message, out ReadOnlySpan<byte> discards),
                        Discards: MemoryMarshal.Cast<byte, long>(discards).ToArray()));
                    break;
                default:
                    // Of another version: it is told to go, and a new one is started.
                    _channel.Dispose();
                    break;
            }
        }

        if (!_closing) ended();
    }
}
