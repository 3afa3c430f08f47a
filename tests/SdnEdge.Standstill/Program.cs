// Freezes threads and processes of a test run at random, as a busy or stalling machine does, so that a test that depends on pace fails
// here instead of on a machine far away. ./build.sh test --standstill SEED starts it beside the tests.
using System.Globalization;
using System.Runtime.InteropServices;
using SdnEdge.Linux;
using SdnEdge.Standstill;

const string Usage = """
    Usage: standstill --seed S --mark NAME=VALUE [--while PID]

      --seed S            number that chooses what is frozen, when and for how long
      --mark NAME=VALUE   freezes processes that were started with this variable, and all that they started; nothing else
      --while PID         ends when this process has ended

    It ends at SIGTERM, SIGINT or SIGHUP, thaws everything and says how much it froze. When it is killed, the kernel thaws everything.
    Needs root (CAP_SYS_PTRACE).
    """;

int? seed = null;
string? mark = null;
ProcessStat? root = null;
for (int i = 0; i < args.Length; i += 2)
{
    string value = i + 1 < args.Length ? args[i + 1] : "";
    switch (args[i])
    {
        case "--seed" when int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out int number): seed = number; break;
        case "--mark" when value.IndexOf('=', StringComparison.Ordinal) > 0: mark = value; break;
        case "--while" when int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out int pid)
            && ProcessStat.Read(pid) is { } stat:
            root = stat;
            break;
        default: return Refuse($"cannot use '{args[i]} {value}'.");
    }
}

if (seed is null || mark is null) return Refuse("--seed and --mark are needed.");

bool stop = false;
void Stop(PosixSignalContext signal)
{
    signal.Cancel = true;
    Volatile.Write(ref stop, true);
}

using PosixSignalRegistration term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
using PosixSignalRegistration hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, Stop);

Urgency.Raise();   // else we stand still ourselves behind those that we do not freeze
const long LookAgainNs = 200_000_000, TickNs = 20_000_000;
var marked = new MarkedProcesses(mark);
IReadOnlyList<ProcessStat> there = [];
long lookAt = 0;
var freezer = new Freezer(new FreezePlan(seed.Value), () => there);
try
{
    while (!Volatile.Read(ref stop))
    {
        long now = Monotonic.Now;
        if (now >= lookAt)
        {
            if (root is { } r && !(ProcessStat.Read(r.ProcessId) is { IsAlive: true } stat && stat.StartTicks == r.StartTicks)) break;
            there = marked.Find();
            lookAt = now + LookAgainNs;
        }

        long next = Math.Min(freezer.Step(now), now + TickNs);
        int sleepMs = (int)((next - Monotonic.Now) / 1_000_000);
        if (sleepMs > 0) Thread.Sleep(sleepMs);   // until the plan's next step
    }
}
finally
{
    freezer.ThawAll(() => Monotonic.Now);
}

if (freezer.Threads + freezer.Processes == 0 && freezer.NotPermitted > 0)
{
    Console.Error.WriteLine("standstill: nothing was frozen: the kernel did not permit it; it needs root (CAP_SYS_PTRACE).");
    return 1;
}

Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
    $"standstill: seed {seed}: {freezer.Threads + freezer.Processes} freezes ({freezer.Threads} of threads, {freezer.Processes} of "
        + $"processes), longest {freezer.LongestNs / 1e9:F2} s"));
return 0;

static int Refuse(string why)
{
    Console.Error.WriteLine($"standstill: {why}\n{Usage}");
    return 2;
}
