using SdnEdge.Lab.Tests.Guests;
using SdnEdge.Testing;
using Xunit;
using Xunit.Abstractions;

namespace SdnEdge.Lab.Tests;

/// <summary>
/// A real guest moves while somebody is killed, frozen or cut off. The migration must end moved or as before, with one running guest, never
/// two, its memory intact and nothing left over. A sample; everything at every stage: <c>./build.sh bench guests kills</c>.
/// </summary>
[Trait("needs", "executable")]
public sealed class GuestKillTests(ITestOutputHelper output)
{
    // From one case to the next the guest changes sides where it has moved.
    private static readonly GuestKillCase[] s_sample =
    [
        new(GuestParty.SourceHost, GuestFault.Kill, "mirror"), new(GuestParty.TargetQemu, GuestFault.Kill, "stop"),
        new(GuestParty.TargetHost, GuestFault.Kill, "activate"), new(GuestParty.Wan, GuestFault.Cut, "stop"),
        new(GuestParty.SourceQemu, GuestFault.Kill, "mirror"), new(GuestParty.SourceQemu, GuestFault.Freeze, "activate"),
        new(GuestParty.SourceHost, GuestFault.CutOff, "stop"),
        new(GuestParty.TargetQemu, GuestFault.NoMemory, "planned"),
    ];

    private static readonly GuestKillCase[] s_ofStores =
    [
        new(GuestParty.SourceStore, GuestFault.Kill, "switch"), new(GuestParty.TargetStore, GuestFault.Kill, "stop"),
        new(GuestParty.SourceStore, GuestFault.DiskFails, "mirror"), new(GuestParty.StoreWan, GuestFault.Cut, "hand-over"),
    ];

    [RootFact]
    public Task Whatever_breaks_one_guest_runs_and_never_two() => RunAsync(LabFiles.Guest, s_sample);

    [RootFact]
    public Task Whatever_breaks_of_its_disk_no_record_is_lost_and_both_sites_have_the_same_bytes()
        => RunAsync(LabFiles.Figure1Qemu, s_ofStores);

    private async Task RunAsync(string topology, GuestKillCase[] cases)
    {
        await using GuestKillRig rig = await GuestKillRig.StartAsync(topology);
        foreach (GuestKillCase what in cases)
        {
            GuestKillResult result;
            try
            {
                result = await rig.RunAsync(what);
            }
            catch (TimeoutException e)
            {
                Assert.Fail($"{what}: {e.Message}");
                throw;
            }

            output.WriteLine(FormattableString.Invariant($"{what}, hit at {result.Hit}: {result.State} in {result.Ms:F0} ms; silent for ")
                + FormattableString.Invariant($"{result.SilentMs:F0} ms; {result.Pings.Lost} of {result.Pings.Sent} pings lost")
                + (result.Failure is null ? "" : $"; {result.Failure}"));
            if (result.Wrong.Count > 0)
                Assert.Fail($"{what}, hit at {result.Hit}, {result.State}:\n{string.Join('\n', result.Wrong)}\n{await rig.TellAsync()}");
        }
    }
}
