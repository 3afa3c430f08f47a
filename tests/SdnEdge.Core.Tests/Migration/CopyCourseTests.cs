using FsCheck.Fluent;
using FsCheck.Xunit;
using SdnEdge.Core.Migration;
using Xunit;

namespace SdnEdge.Core.Tests.Migration;

/// <summary>Copies of guests that change their memory at a given rate, over a way of a given bandwidth, looked at every 20 ms.</summary>
public class CopyCourseTests
{
    private const double Mega = 1_000_000;

    [Fact]
    public void An_idle_guest_is_ready_in_its_second_pass_and_its_figures_are_those_of_the_guest()
    {
        var guest = new SimulatedCopy(memory: 90 * Mega, bandwidth: 100 * Mega, dirty: 0.5 * Mega);
        CopyCourse course = guest.Run(new CopyLimits(1000, RoundTripMs: 40), until: c => c.IsShut);
        Assert.Equal(2, course.Last!.Value.Pass);
        Assert.InRange(course.Bandwidth, 80 * Mega, 110 * Mega);
        Assert.InRange(course.DirtyRate, 0.3 * Mega, 0.7 * Mega);
        Assert.InRange(course.PredictedMs, 60, 90);
        Assert.Null(course.NotConverging);
    }

    // Each pass is a third of the one before: there is no point in stopping before it is short.
    [Fact]
    public void A_guest_that_changes_a_third_of_what_is_carried_is_copied_until_another_pass_is_worth_nothing()
    {
        var guest = new SimulatedCopy(memory: 1000 * Mega, bandwidth: 100 * Mega, dirty: 33 * Mega);
        CopyCourse course = guest.Run(new CopyLimits(5000), until: c => c.IsShut);
        Assert.InRange(course.Last!.Value.Pass, 4, 10);
        Assert.True(course.PredictedMs < 300, $"{course.PredictedMs} ms, in pass {course.Last!.Value.Pass}");
    }

    [Fact]
    public void A_guest_that_changes_more_than_is_carried_is_said_to_be_one_with_its_numbers_and_its_gate_stays_open()
    {
        var guest = new SimulatedCopy(memory: 1000 * Mega, bandwidth: 100 * Mega, dirty: 200 * Mega, working: 800 * Mega);
        CopyCourse course = guest.Run(new CopyLimits(1000), until: c => c.NotConverging is not null);
        Assert.InRange(course.Last!.Value.Pass, 3, 6);
        Assert.False(course.IsShut);
        Assert.Contains("MB/s are carried", course.NotConverging, StringComparison.Ordinal);
        Assert.Contains("1000 are allowed", course.NotConverging, StringComparison.Ordinal);

        // It grows quiet: then it does converge.
        guest.Dirty = 1 * Mega;
        Assert.Null(guest.Run(course, until: c => c.IsShut).NotConverging);
    }

    // It cannot be made shorter, and it is short enough.
    [Fact]
    public void A_guest_that_changes_more_than_is_carried_is_ready_where_so_long_a_stop_is_allowed()
    {
        var guest = new SimulatedCopy(memory: 1000 * Mega, bandwidth: 100 * Mega, dirty: 200 * Mega, working: 50 * Mega);
        CopyCourse course = guest.Run(new CopyLimits(2000), until: c => c.IsShut);
        Assert.True(course.PredictedMs <= 2000);
    }

    [Fact]
    public void In_one_pass_the_rest_is_kept_back_before_its_end_and_a_second_pass_spoils_the_copy()
    {
        var guest = new SimulatedCopy(memory: 90 * Mega, bandwidth: 100 * Mega, dirty: 50 * Mega);
        CopyCourse course = guest.Run(new CopyLimits(1000, OnePass: true), until: c => c.IsShut);
        Assert.Equal(1, course.Last!.Value.Pass);
        CopyLook at = course.Last!.Value;
        Assert.Equal(CopyStep.Restart, course.Look(at with { Pass = 2, AtNs = at.AtNs + 1 }).Step);
    }

    // Whoever looks may be kept from it; the hypervisor is not.
    [Theory]
    [InlineData(0.02, true)]
    [InlineData(0.7, true)]
    [InlineData(5, true)]
    [InlineData(0.7, false)]
    public void The_pass_that_is_to_be_the_last_does_not_end_however_late_the_next_look_comes(double lookSeconds, bool onePass)
    {
        var guest = new SimulatedCopy(memory: 90 * Mega, bandwidth: 100 * Mega, dirty: 0.2 * Mega,
            working: 8 * Mega) { Look = lookSeconds };
        CopyCourse course = guest.Run(new CopyLimits(1000, OnePass: onePass), until: c => c.IsShut, looks: 2000);
        Assert.True(course.IsShut);
        Assert.True(course.Last!.Value.RemainingBytes > 0);
        if (onePass) Assert.Equal(1, course.Last!.Value.Pass);
    }

    [Fact]
    public void A_point_that_nobody_takes_passes_when_the_guest_has_changed_too_much_since()
    {
        var guest = new SimulatedCopy(memory: 90 * Mega, bandwidth: 100 * Mega, dirty: 20 * Mega);
        CopyCourse course = guest.Run(new CopyLimits(1000), until: c => c.IsShut);
        CopyCourse passed = guest.Run(course, until: c => !c.IsShut);
        Assert.Equal(CopyStep.Open, passed.Step);
        Assert.InRange((passed.Last!.Value.AtNs - course.Last!.Value.AtNs) / 1e9, 2, 20);
        Assert.True(guest.Run(passed, until: c => c.IsShut).PredictedMs <= 1000);
    }

    // Whatever the guest does: the gate is never shut in the first pass of many, and never when more than is allowed is predicted.
    [Property(MaxTest = 300)]
    public bool Only_a_convenient_point_shuts_the_gate(byte memory, byte bandwidth, byte dirty, byte working, ushort allowed)
    {
        var guest = new SimulatedCopy((memory + 1) * 4 * Mega, (bandwidth + 1) * Mega, dirty * Mega, (working + 1) * Mega);
        CopyCourse course = guest.Run(new CopyLimits(allowed + 1), until: c => c.IsShut || c.NotConverging is not null, looks: 20_000);
        return course.IsShut ? course.Last!.Value.Pass >= 2 && course.PredictedMs <= allowed + 1 : true;
    }

    /// <summary>QEMU's passes: each copies what was changed during the one before.</summary>
    private sealed class SimulatedCopy(double memory, double bandwidth, double dirty, double? working = null)
    {
        private readonly double _working = working ?? memory;
        private double _remaining = memory, _changed, _carried;
        private long _nowNs;
        private int _pass = 1;

        public double Dirty { get; set; } = dirty;

        /// <summary>Time between two looks, seconds.</summary>
        public double Look { get; init; } = 0.02;

        public CopyCourse Run(CopyLimits limits, Func<CopyCourse, bool> until, int looks = 200_000)
            => Run(new CopyCourse(limits), until, looks);

        public CopyCourse Run(CopyCourse course, Func<CopyCourse, bool> until, int looks = 200_000)
        {
            for (int i = 0; i < looks; i++)
            {
                double rate = course.Step switch
                {
                    CopyStep.Shut => 0,
                    CopyStep.Hurry => bandwidth,
                    _ => Math.Min(bandwidth, course.ApproachBytesPerSecond),
                };
                double carried = Math.Min(Math.Min(rate * Look, _remaining), course.AllowanceBytes);
                _nowNs += (long)(Look * 1e9);
                (_remaining, _carried) = (_remaining - carried, _carried + carried);
                _changed = Math.Min(_changed + (Dirty * Look), _working);
                if (_remaining <= 0) (_pass, _remaining, _changed) = (_pass + 1, _changed, 0);
                course = course.Look(new CopyLook(_nowNs, _pass, (long)_remaining, (long)_carried));
                if (until(course)) return course;
            }

            return course;
        }
    }
}
