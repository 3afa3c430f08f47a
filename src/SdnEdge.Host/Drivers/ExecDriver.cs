using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using SdnEdge.Core.Api;
using SdnEdge.Host.Config;
using SdnEdge.Linux;

namespace SdnEdge.Host.Drivers;

/// <summary>What a step's command reads on its standard input.</summary>
/// <param name="Order">The step: look, prepare, stop, hand-over, activate, resume, cancel, kill, mirror.</param>
/// <param name="Server">The server.</param>
/// <param name="Epoch">Epoch of the order; 0 when it is only looked at.</param>
/// <param name="Migration">Id of the migration; empty when it is only looked at.</param>
/// <param name="PeerHost">The host at the other end; left out when not said.</param>
internal sealed record ExecInput(string Order, string Server, long Epoch, string Migration, string? PeerHost);

/// <summary>What look writes on its standard output.</summary>
/// <param name="State">running, paused, incoming, absent.</param>
internal sealed record ExecLook(string? State);

/// <summary>What mirror writes on its standard output. Only the first two are needed.</summary>
internal sealed record ExecMirror(bool? Ready, long? RemainingBytes, long CopiedBytes, double PredictedBlackoutMs);

/// <summary>JSON of the exec driver's contract: fields that are not known are left alone, so that a script may say more than is
/// read.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(ExecInput))]
[JsonSerializable(typeof(ExecLook))]
[JsonSerializable(typeof(ExecMirror))]
internal sealed partial class ExecTypes : JsonSerializerContext;

/// <summary>
/// Drives a server by commands of the user, one a step: docs/exec-driver.md. A command runs in a process group of its own and is killed
/// with all of it at its deadline. A lock file, held while a command runs, keeps one that outlives a killed agent apart from those of the
/// next.
/// </summary>
public sealed class ExecDriver : IServerDriver
{
    private const int TryAgain = 75;   // EX_TEMPFAIL of sysexits.h
    private const int MaxOutput = 64 << 10;
    private const int ReasonLines = 5, ReasonChars = 1000;
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan s_pipes = TimeSpan.FromSeconds(1);

    private readonly string _server;
    private readonly ExecConfig _config;
    private readonly string _lock;

    /// <summary>A driver of <paramref name="server"/>.</summary>
    /// <param name="server">The server.</param>
    /// <param name="config">Its commands.</param>
    /// <param name="lockFile">A file of its own, made when it is not there.</param>
    public ExecDriver(string server, ExecConfig config, string lockFile) => (_server, _config, _lock) = (server, config, lockFile);

    /// <inheritdoc/>
    public string Kind => "exec";

    /// <inheritdoc/>
    public bool Undoable => _config.Undoable;

    /// <inheritdoc/>
    public TimeSpan LookInterval => TimeSpan.FromSeconds(5);

    /// <inheritdoc/>
    public bool Mirrors => _config.Mirror is not null;

    /// <inheritdoc/>
    public async Task<ServerState> LookAsync(DriverContext context, CancellationToken cancel)
    {
        string output = await RunAsync("look", _config.Look, context, cancel);
        string? state = Read(output, "look", ExecTypes.Default.ExecLook)?.State;
        return state switch
        {
            "running" => ServerState.Running,
            "paused" => ServerState.Paused,
            "incoming" => ServerState.Incoming,
            "absent" => ServerState.Absent,
            _ => throw Garbage("look", output, "{\"state\": \"running\"} (or paused, incoming, absent)"),
        };
    }

    /// <inheritdoc/>
    public Task<ServerState> PrepareIncomingAsync(DriverContext context, CancellationToken cancel)
        => StepAsync("prepare", _config.Prepare, context, cancel);

    /// <inheritdoc/>
    public Task<ServerState> StopAsync(DriverContext context, CancellationToken cancel) => StepAsync("stop", _config.Stop, context, cancel);

    /// <inheritdoc/>
    public Task<ServerState> HandOverAsync(DriverContext context, CancellationToken cancel)
        => _config.HandOver is { } step ? StepAsync("hand-over", step, context, cancel) : LookAsync(context, cancel);

    /// <inheritdoc/>
    public Task<ServerState> ActivateAsync(DriverContext context, CancellationToken cancel)
        => StepAsync("activate", _config.Activate, context, cancel);

    /// <inheritdoc/>
    public Task<ServerState> ResumeAsync(DriverContext context, CancellationToken cancel)
        => StepAsync("resume", _config.Resume, context, cancel);

    /// <inheritdoc/>
    public Task<ServerState> CancelAsync(DriverContext context, CancellationToken cancel)
        => StepAsync("cancel", _config.Cancel, context, cancel);

    /// <inheritdoc/>
    public Task<ServerState> KillAsync(DriverContext context, CancellationToken cancel) => StepAsync("kill", _config.Kill, context, cancel);

    /// <inheritdoc/>
    public async Task<MirrorProgress?> MirrorAsync(DriverContext context, CancellationToken cancel)
    {
        if (_config.Mirror is not { } step) return null;
        string output = await RunAsync("mirror", step, context, cancel);
        return Read(output, "mirror", ExecTypes.Default.ExecMirror) is { Ready: { } ready, RemainingBytes: { } remaining } mirror
            ? new MirrorProgress(ready, mirror.CopiedBytes, remaining, mirror.PredictedBlackoutMs)
            : throw Garbage("mirror", output, "{\"ready\": false, \"remainingBytes\": 1048576}");
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private async Task<ServerState> StepAsync(string name, ExecStep step, DriverContext context, CancellationToken cancel)
    {
        await RunAsync(name, step, context, cancel);
        return await LookAsync(context, cancel);
    }

    // Exit code 75 asks to be tried again: as long as the step's deadline allows.
    private async Task<string> RunAsync(string name, ExecStep step, DriverContext context, CancellationToken cancel)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        deadline.CancelAfter(step.Deadline);
        string last = "";
        try
        {
            while (true)
            {
                (int code, string output, string reason) = await OnceAsync(name, step, context, deadline.Token);
                if (code == 0) return output;
                if (code != TryAgain)
                    throw new DriverException($"{name} of server {_server}: {step.Run[0]} failed with exit code {code}{(reason.Length > 0
                        ? ": " + reason : "")}");
                last = reason.Length > 0 ? reason : "exit code 75";
                await Task.Delay(s_pause, deadline.Token);
            }
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new DriverException(string.Create(CultureInfo.InvariantCulture,
                $"{name} of server {_server}: {step.Run[0]} was not done within {step.Deadline.TotalMilliseconds} ms and was killed")
                + (last.Length > 0 ? $"; it had asked to be tried again: {last}" : ""));
        }
    }

    private async Task<(int Code, string Output, string Reason)> OnceAsync(string name, ExecStep step, DriverContext context,
        CancellationToken cancel)
    {
        // setsid makes the group. flock waits until no other command of this server runs, and does not hand its descriptor on: a
        // program that a command leaves running does not keep the lock.
        var start = new ProcessStartInfo("setsid") { UseShellExecute = false, RedirectStandardInput = true, RedirectStandardOutput = true,
            RedirectStandardError = true };
        foreach (string word in (IEnumerable<string>)["flock", "--close", _lock, .. step.Run]) start.ArgumentList.Add(word);
        using Process process = Start(start, name);
        using var pipes = new CancellationTokenSource();
        Task<string> output = ReadAsync(process.StandardOutput, MaxOutput, pipes.Token);
        Task<string> errors = ReadAsync(process.StandardError, MaxOutput, pipes.Token);
        try
        {
            var input = new ExecInput(name, _server, context.Epoch, context.Migration, context.PeerHost);
            try
            {
                await process.StandardInput.WriteLineAsync(JsonSerializer.Serialize(input, ExecTypes.Default.ExecInput).AsMemory(), cancel);
                process.StandardInput.Close();
            }
            catch (IOException)
            {
                // It does not read its input, which it need not.
            }

            await process.WaitForExitAsync(cancel);
        }
        catch (OperationCanceledException)
        {
            // Before setsid has made the group there is only the process.
            if (!Signals.SendToGroup(process.Id, ProcessSignal.Kill)) process.Kill();
            await process.WaitForExitAsync(CancellationToken.None);
            throw;
        }
        finally
        {
            // What a command has left running may have its output open: nobody waits for that.
            pipes.CancelAfter(s_pipes);
        }

        return (process.ExitCode, await output, Reason(await errors));
    }

    private Process Start(ProcessStartInfo start, string name)
    {
        try
        {
            return Process.Start(start) ?? throw new DriverException($"{name} of server {_server}: {start.FileName} could not be started");
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw new DriverException($"{name} of server {_server}: {start.FileName} could not be started: {e.Message}");
        }
    }

    // What was read until the end, or until nobody waits any more; the first so many characters of it.
    private static async Task<string> ReadAsync(StreamReader from, int limit, CancellationToken cancel)
    {
        var text = new StringBuilder();
        char[] buffer = new char[4096];
        try
        {
            int count;
            while ((count = await from.ReadAsync(buffer, cancel)) > 0)
            {
                text.Append(buffer, 0, Math.Min(count, limit - text.Length));
            }
        }
        catch (OperationCanceledException)
        {
            // See above.
        }

        return text.ToString();
    }

    private static string Reason(string errors)
    {
        string[] lines = errors.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        string text = string.Join("; ", lines[Math.Max(0, lines.Length - ReasonLines)..]);
        return text.Length <= ReasonChars ? text : "..." + text[^ReasonChars..];
    }

    private T? Read<T>(string output, string name, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type) where T : class
    {
        try
        {
            return JsonSerializer.Deserialize(output, type);
        }
        catch (JsonException)
        {
            throw Garbage(name, output, "one JSON object");
        }
    }

    private DriverException Garbage(string name, string output, string right)
    {
        string shown = output.Trim();
        if (shown.Length > 200) shown = shown[..200] + "...";
        return new DriverException($"{name} of server {_server}: it printed '{shown}' where {right} belongs");
    }
}
