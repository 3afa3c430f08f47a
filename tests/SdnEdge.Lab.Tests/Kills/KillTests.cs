using SdnEdge.Lab.Tests.Kills;
using SdnEdge.Testing;
using Xunit;
using Xunit.Abstractions;

namespace SdnEdge.Lab.Tests;

/// <summary>
/// Real processes, each killed by SIGKILL in the middle of a migration and started again. The migration must end moved or as before, with
/// one live server at all times and nothing left over. Each party once at the stages that matter to it; every party at every stage:
/// <c>./build.sh bench kills</c>.
/// </summary>
[Trait("needs", "executable")]
public sealed class KillTests(KillTests.OneLab lab, ITestOutputHelper output) : IClassFixture<KillTests.OneLab>
{
    // From one case to the next the server changes sides, and with it which of the two PEs, or of the two agents, is the source.
    private static readonly string[] s_stages =
        ["prepare-source", "switch", "stop", "activate", "release", "direct-path", "teardown-source"];

    [RootFact]
    public Task The_manager_is_killed_at_each_stage_of_a_move()
        => RunAsync(KillCase.Forward.Select(stage => new KillCase(Party.Manager, stage)));

    [RootFact]
    public Task The_manager_is_killed_at_each_stage_of_an_abort()
        => RunAsync(((string[])["mirror", "stop"]).SelectMany(at => KillCase.Undo.Select(stage => new KillCase(Party.Manager, stage, at))));

    [RootFact]
    public Task The_source_PE_is_killed_at_stages_of_a_move() => RunAsync(s_stages.Select(stage => new KillCase(Party.SourcePe, stage)));

    [RootFact]
    public Task The_target_PE_is_killed_at_stages_of_a_move() => RunAsync(s_stages.Select(stage => new KillCase(Party.TargetPe, stage)));

    [RootFact]
    public Task The_host_agents_are_killed_at_stages_of_a_move() => RunAsync(
        ((Party[])[Party.SourceHost, Party.TargetHost]).SelectMany(party => s_stages.Select(stage => new KillCase(party, stage))));

    [RootFact]
    public Task A_party_is_cut_off_from_the_manager_in_the_middle_of_a_move() => RunAsync(
    [
        new(Party.SourcePe, "switch", Fault: Fault.CutOff), new(Party.SourceHost, "stop", Fault: Fault.CutOff),
        new(Party.TargetHost, "activate", Fault: Fault.CutOff), new(Party.TargetPe, "release", Fault: Fault.CutOff),
    ]);

    // Its answer to the stop never comes. The manager waits for as long as the hold has room, and has the PEs switch back and give back
    // while the host is still cut off.
    [RootFact]
    public Task A_source_host_that_is_cut_off_in_the_stop_is_not_waited_for_longer_than_the_hold_has_room() => RunAsync(
    [
        new(Party.SourceHost, "stop", Fault: Fault.CutOff, Until: "inspect-undo"),
    ]);

    private async Task RunAsync(IEnumerable<KillCase> cases)
    {
        foreach (KillCase what in cases)
        {
            KillRig rig = await lab.RigAsync();
            bool well = false;
            try
            {
                KillResult result = await rig.RunAsync(what);
                string hit = $"{what} ({result.Node}, hit at {result.Hit}{(result.Aborted == false ? ", abort refused" : "")})";
                output.WriteLine(FormattableString.Invariant($"{hit}: {result.State} in {result.Ms:F0} ms; ") +
                    FormattableString.Invariant($"live nowhere for {result.DarkMs:F0} ms at most, ") +
                    FormattableString.Invariant($"{result.Pings.Lost} of {result.Pings.Sent} pings lost"));
                if (result.Wrong.Count > 0) Assert.Fail($"{hit}:\n{string.Join('\n', result.Wrong)}\n{await rig.TellAsync()}");
                well = true;
            }
            catch (TimeoutException e)
            {
                Assert.Fail($"{what}: {e.Message}");
            }
            finally
            {
                if (!well) await lab.DropAsync();
            }
        }
    }

    /// <summary>The lab of all cases. After one that went wrong the next begins with a new one.</summary>
    public sealed class OneLab : IAsyncLifetime
    {
        private KillRig? _rig;

        public Task InitializeAsync() => Task.CompletedTask;

        public Task DisposeAsync() => DropAsync();

        internal async Task<KillRig> RigAsync() => _rig ??= await KillRig.StartAsync(LabFiles.Figure1);

        internal async Task DropAsync()
        {
            (KillRig? rig, _rig) = (_rig, null);
            if (rig is not null) await rig.DisposeAsync();
        }
    }
}
