using SdnEdge.Mms.Drivers;
using SdnEdge.Testing;

namespace SdnEdge.Mms.Tests;

/// <summary>Waits for what a manager says of itself: why it waits changes without an input.</summary>
internal static class ManagerWait
{
    /// <summary>Waits until it is so; fails at once when the manager has failed.</summary>
    public static Task UntilAsync(this ManagerService manager, Func<bool> so, ScriptedParties parties) => Patience.UntilAsync(
        async () =>
        {
            if (manager.Ended is { IsFaulted: true } ended) await ended;
            return so();
        },
        () => string.Join('\n',
        [
            manager.Fault ?? "", .. parties.Log.Select(l => l.What),
            .. manager.State.Migrations.Values.SelectMany(m => manager.WaitingOf(m.Id)).Select(w => w.ToString()),
        ]));
}
