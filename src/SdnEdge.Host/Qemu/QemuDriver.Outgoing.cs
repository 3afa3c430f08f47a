using SdnEdge.Core.Api;
using SdnEdge.Core.Migration;
using SdnEdge.Host.Drivers;
using SdnEdge.Host.Qmp;
using SdnEdge.Linux;

namespace SdnEdge.Host.Qemu;

public sealed partial class QemuDriver
{
    // An outgoing migration: its relay, and the task that follows its course and shuts the gate at the convenient point.
    private sealed class Outgoing : IAsyncDisposable
    {
        private readonly QmpConnection _qmp;
        private readonly QmpListener _passes;
        private readonly Stream _network;
        private readonly CopyShare _share;
        private readonly CopyLog _log;
        private readonly MigrationRelay _relay;
        private readonly RelayGate _gate = new();
        private readonly CancellationTokenSource _stop = new();
        private readonly Lock _lock = new();
        private readonly Task _watch;
        private CopyCourse _course;
        private bool _stops;

        public Outgoing(QemuDriver driver, DriverContext context, string host, QmpConnection qmp, QmpListener passes, Stream local,
            Stream network)
        {
            (Epoch, _qmp, _passes, _network) = (context.Epoch, qmp, passes, network);
            _log = new CopyLog(context.Migration, context.Epoch, host, Monotonic.Now);
            _course = new CopyCourse(new CopyLimits(context.MaxStopMs ?? DriverContext.UnsaidMaxStopMs,
                (network as MigrationStream)?.RoundTripMs ?? 0, driver._config.OnePass, driver._config.AutoConverge));
            _share = driver._bandwidth.Join(context.Migration, context.CopyBytesPerSecond ?? 0);
            _share.Limit = Pace;
            _gate.Allow(_course.AllowanceBytes);
            _relay = new MigrationRelay(local, network, _gate, _share);
            _watch = WatchAsync();
        }

        public long Epoch { get; }

        public bool Ended => _relay.Completion.IsCompleted || Course.Step == CopyStep.Restart;

        public CopyInfo Info => _log.Info(_relay.Counts.Forth, (_network as MigrationStream)?.WireBytes ?? _relay.Counts.Forth);

        public MirrorProgress Progress
        {
            get
            {
                CopyCourse course = Course;
                return new MirrorProgress(course.IsShut, _relay.Counts.Forth, course.Last?.RemainingBytes ?? 0, course.PredictedMs,
                    course.Last?.Pass ?? 0, course.Bandwidth, course.DirtyRate, course.NotConverging);
            }
        }

        // The guest is told to stop: whatever the course would say, nothing passes until it stands still.
        public void StopsNow()
        {
            lock (_lock)
            {
                _stops = true;
                _gate.Shut();
            }
        }

        // It stands still: the rest goes ahead of all other copies.
        public void OpenForRest()
        {
            (_share.Limit, _share.Urgent, _share.Waits) = (0, true, false);
            _gate.Open();
        }

        public void End(bool completed)
        {
            if (completed) Note();
            _log.End(Monotonic.Now, completed);
        }

        public async ValueTask DisposeAsync()
        {
            End(completed: false);
            await _stop.CancelAsync();
            await _watch.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await _relay.DisposeAsync();
            _share.Dispose();
            _passes.Dispose();
            _stop.Dispose();
        }

        private CopyCourse Course
        {
            get
            {
                lock (_lock) return _course;
            }
        }

        private async Task WatchAsync()
        {
            while (Course.Step != CopyStep.Restart)
            {
                // A pass that begins is told at once; how much of it is left has to be asked for.
                try
                {
                    await _passes.NextAsync(_ => true, "a pass has begun", s_pause, _stop.Token);
                }
                catch (QmpTimeoutException)
                {
                    // Nothing has happened: look.
                }

                QmpMigration at = await _qmp.ExecuteAsync(QmpCommands.QueryMigrate, s_command, _stop.Token);
                if (at.Status is not ("setup" or "active"))
                {
                    await ResumeAsync(at.Status);
                    return;
                }

                if (at.Ram is not { } ram) continue;
                lock (_lock)
                {
                    if (_stops) return;
                    _course = _course.Look(new CopyLook(Monotonic.Now, (int)ram.DirtySyncCount, ram.Remaining, _relay.Counts.Forth));
                    _share.Waits = _course.IsShut;
                    _gate.Allow(_course.AllowanceBytes);
                    _share.Limit = _course.Step == CopyStep.Hurry ? Pace : _course.ApproachBytesPerSecond;
                }

                Note();
            }
        }

        // QEMU has stopped the guest by itself, a moment before the gate was shut: it runs on when its migration is cancelled. The next
        // look begins the copy anew. Not when the guest is being stopped: then the order that stops it sees what has become of it.
        private async Task ResumeAsync(string? status)
        {
            if (status is not ("pre-switchover" or "device")) return;
            lock (_lock)
            {
                if (_stops) return;
            }

            await _qmp.ExecuteAsync(QmpCommands.MigrateCancel, s_command, _stop.Token);
        }

        private void Note()
        {
            CopyCourse course = Course;
            if (course.Last is not { } at) return;
            _log.Add(new CopySample(Monotonic.Now, at.Pass, at.RemainingBytes, _relay.Counts.Forth, course.Bandwidth, course.DirtyRate,
                _gate.IsShut));
        }
    }
}
