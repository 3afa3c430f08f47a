using SdnEdge.Lab.Tests.Kills;
using SdnEdge.Testing;
using Xunit;
using Xunit.Abstractions;

namespace SdnEdge.Lab.Tests;

/// <summary>
/// Three managers with one journal in an etcd of three members, as processes in namespaces. The one that leads is killed, frozen or cut off
/// in the middle of a migration; the next one ends it, and the one that wakes up changes nothing. All stages:
/// <c>./build.sh bench kills Manager FAULT</c> with <c>--managers</c>.
/// </summary>
[Trait("needs", "executable")]
public sealed class ManagersTests(ManagersTests.OneLab lab, ITestOutputHelper output) : IClassFixture<ManagersTests.OneLab>
{
    private static readonly string[] s_stages = ["mirror", "stop", "activate", "direct-path", "last-packet"];

    [RootFact]
    public Task The_manager_that_leads_is_killed_in_the_middle_of_a_move()
        => RunAsync(s_stages.Select(stage => new KillCase(Party.Manager, stage)));

    [RootFact]
    public Task The_manager_that_leads_stands_still_for_longer_than_its_lease_and_changes_nothing_when_it_wakes_up()
        => RunAsync(s_stages.Select(stage => new KillCase(Party.Manager, stage, Fault: Fault.Freeze))
            .Append(new KillCase(Party.Manager, "resume-source", "stop", Fault.Freeze)));

    [RootFact]
    public Task The_manager_that_leads_is_cut_off_with_its_member_of_etcd() => RunAsync(
    [
        new(Party.Manager, "switch", Fault: Fault.CutOff), new(Party.Manager, "activate", Fault: Fault.CutOff),
    ]);

    [RootFact]
    public async Task Without_a_majority_of_etcd_nothing_moves_what_runs_goes_on_and_then_the_migration_ends()
    {
        foreach (string stage in (string[])["mirror", "direct-path"])
        {
            await lab.RunAsync(async rig =>
            {
                KillResult result = await rig.WithoutMajorityAsync(stage);
                output.WriteLine($"{stage}, hit at {result.Hit}, {result.Node}: {result.State}");
                return (stage, result.Wrong);
            });
        }
    }

    private async Task RunAsync(IEnumerable<KillCase> cases)
    {
        foreach (KillCase what in cases)
        {
            await lab.RunAsync(async rig =>
            {
                KillResult result = await rig.RunAsync(what);
                string hit = $"{what} ({result.Node}, hit at {result.Hit})";
                output.WriteLine(
                    FormattableString.Invariant($"{hit}: {result.State} in {result.Ms:F0} ms; live nowhere for {result.DarkMs:F0} ms"));
                return (hit, result.Wrong);
            });
        }
    }

    /// <summary>The lab of all cases. After one that went wrong the next begins with a new one.</summary>
    public sealed class OneLab : IAsyncLifetime
    {
        private KillRig? _rig;

        public Task InitializeAsync() => Task.CompletedTask;

        public async Task DisposeAsync()
        {
            (KillRig? rig, _rig) = (_rig, null);
            if (rig is not null) await rig.DisposeAsync();
        }

        internal async Task RunAsync(Func<KillRig, Task<(string What, IReadOnlyList<string> Wrong)>> run)
        {
            bool well = false;
            KillRig rig = _rig ??= await KillRig.StartAsync(LabFiles.Managers);
            try
            {
                (string what, IReadOnlyList<string> wrong) = await run(rig);
                if (wrong.Count > 0) Assert.Fail($"{what}:\n{string.Join('\n', wrong)}\n{await rig.TellAsync()}");
                well = true;
            }
            catch (TimeoutException e)
            {
                Assert.Fail(e.Message);
            }
            finally
            {
                if (!well) await DisposeAsync();
            }
        }
    }
}
