using SdnEdge.Core.Api;
using SdnEdge.Host.Drivers;
using Xunit;

namespace SdnEdge.Host.Tests.Qemu;

/// <summary>
/// A guest of machine type pc-q35-7.2 moves between QEMU 7.2 and 10, in one pass: in more than one QEMU 7.2 corrupts its memory without
/// KVM.
/// </summary>
public sealed class QemuVersionTests
{
    [Theory]
    [InlineData("7", "10")]
    [InlineData("10", "7")]
    [InlineData("7", "7")]
    public async Task A_guest_moves_there_and_back_in_one_pass_with_all_its_memory(string first, string second)
    {
        await using var lab = new QemuDriverTests.TwoDrivers(onePass: true, qemuA: QemuOf(first), qemuB: QemuOf(second));
        await lab.StartAsync();
        (long ticks, long bad) = await lab.CountsAsync(lab.A);
        Assert.Equal(0, bad);
        foreach (int move in (int[])[1, 2])
        {
            (QemuDriverTests.Side from, QemuDriverTests.Side to) = move == 1 ? (lab.A, lab.B) : (lab.B, lab.A);
            var context = new DriverContext("vs", move, $"m{move}", to.Name);
            Assert.Equal(ServerState.Incoming, await to.Driver.PrepareIncomingAsync(context, default));

            await lab.MirroredAsync(from, context);
            Assert.Equal(ServerState.Paused, await from.Driver.StopAsync(context, default));
            Assert.Equal(ServerState.Paused, await from.Driver.HandOverAsync(context, default));
            Assert.Equal(ServerState.Running, await to.Driver.ActivateAsync(context, default));
            Assert.Equal(ServerState.Absent, await from.Driver.KillAsync(context, default));
            MachineInfo machine = (await to.Driver.MachineAsync(default))!;
            string version = (move == 1 ? second : first) == "7" ? "7.2." : "10.0.";
            Assert.Equal((true, "pc-q35-7.2", true), (machine.Version.StartsWith(version, StringComparison.Ordinal), machine.ResolvedType,
                machine.IsSeen));
            (long now, bad) = await lab.CountsAsync(to);
            Assert.True(now >= ticks, $"move {move}: the guest's clock went back from {ticks} to {now}");
            Assert.Equal(0, bad);
            ticks = now;
        }
    }

    private static string[] QemuOf(string version) => version == "7" ? Guest.Qemu7 : Guest.Qemu10;
}
