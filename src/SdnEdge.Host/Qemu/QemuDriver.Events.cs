using SdnEdge.Core.Api;
using SdnEdge.Host.Drivers;
using SdnEdge.Host.Qmp;

namespace SdnEdge.Host.Qemu;

// What happens to a guest without an order, and a disk that failed.
public sealed partial class QemuDriver
{
    /// <inheritdoc/>
    public bool WaitsForDisk => _waitsForDisk;

    /// <inheritdoc/>
    public async Task RetryDiskAsync(CancellationToken cancel)
    {
        // QEMU keeps what failed (werror=stop, rerror=stop) and asks the disk for it again.
        if (Environment.TickCount64 - _diskTriedAt < DiskRetryMs) return;
        QmpConnection qmp = (await MonitorsAsync(cancel)).Main;
        QmpStatus status = await qmp.ExecuteAsync(QmpCommands.QueryStatus, s_command, cancel);
        if (status.Status != "io-error") return;
        (_diskFails, _diskTriedAt) = (true, Environment.TickCount64);
        await qmp.ExecuteAsync(QmpCommands.Cont, s_command, cancel);
    }

    // It runs. One whose disk had failed has to have run for a while: an attempt fails a moment after it began.
    private void DiskWorks()
    {
        if (!_diskFails || Environment.TickCount64 - _diskTriedAt < DiskWorksMs) return;
        (_diskFails, _why) = (false, null);
        _news.Writer.TryWrite(new DriverNews("io-error-over", "its disk works again: what had failed was tried again, and it goes on"));
    }

    private ServerState Failed(string state)
    {
        _why ??= $"QEMU has stopped it: {state}";
        return ServerState.Paused;
    }

    // Reports what happens to the guest without an order, for as long as QEMU or this connection lives.
    private async Task ReportAsync(QmpMonitors qmp, QmpListener listener)
    {
        using QmpListener events = listener;
        while (true)
        {
            QmpEvent happened;
            try
            {
                happened = await events.NextAsync(_ => true, "anything", Timeout.InfiniteTimeSpan, default);
            }
            catch (QmpException)
            {
                // Not when this driver has ended the connection or the process itself.
                if (_qmp != qmp || _disposed) return;
                for (int i = 0; i < EndingPauses && _process.Id is not null; i++) await Task.Delay(s_pause);
                if (_qmp == qmp && _process.Id is null) Report("ended", $"its QEMU has ended: {_process.LastWords}");
                return;
            }

            string? Said(string field) => happened.Text(field);
            switch (happened.Name)
            {
                case "SHUTDOWN":
                    Report("shut-down", $"it was shut down ({Said("reason") ?? "no reason given"})");
                    break;
                case "GUEST_PANICKED":
                    Report("panicked", $"its kernel has panicked ({Said("action") ?? "no action"})");
                    break;
                case "BLOCK_IO_ERROR":
                    // Said once: it is tried again each second.
                    string failed = $"its disk {Said("node-name") ?? Said("device")} has failed: {Said("operation")}, {Said("reason")} "
                        + $"(action {Said("action")})";
                    if (_diskFails) _why = failed;
                    else Report("io-error", failed);
                    break;
                case "WATCHDOG":
                    Report("watchdog", $"its watchdog has expired (action {Said("action")})");
                    break;
                case "RESET":
                    _news.Writer.TryWrite(new DriverNews("reset", "it restarts"));
                    break;
                case "RESUME":
                    if (!_diskFails) _why = null;
                    break;
            }
        }
    }

    private void Report(string change, string detail)
    {
        _why = detail;
        _news.Writer.TryWrite(new DriverNews(change, detail, LookNow: true));
    }
}
