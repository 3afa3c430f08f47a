using SdnEdge.Testing.Bgp.Fuzz;
using Xunit;
using Xunit.Abstractions;

namespace SdnEdge.Core.Tests.Bgp.Hostile;

/// <summary>
/// Mutated messages by the hundred thousand, judged by an independent oracle. The long run is
/// <c>./build.sh bench fuzz --cases 10000000</c>; one case again: <c>./build.sh bench fuzz --seed N --case M</c>.
/// </summary>
public sealed class HostileFuzzTests(ITestOutputHelper output)
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Fifty_thousand_mutated_cases_are_judged_as_the_oracle_judges_them(int seed)
    {
        var source = new FuzzSource(FuzzCorpus.WithCaptured(FuzzCorpus.Folder()!), seed);
        var runner = new FuzzRunner();
        for (int i = 0; i < 50_000; i++)
        {
            FuzzCase one = source.Make(i);
            if (runner.Run(one) is not { } wrong) continue;
            FuzzCase small = runner.Shrink(one);
            Assert.Fail($"--seed {seed} --case {i}: {wrong}\n{small}\n{runner.Run(small)}");
        }

        output.WriteLine($"{runner.Resets} resets, {runner.Updates}");
        Assert.InRange(runner.Resets, 5_000, 40_000);
        Assert.InRange(runner.Updates.Taken, 5_000, 100_000);
        Assert.InRange(runner.Updates.Withdrawn, 5_000, 100_000);
        Assert.InRange(runner.Updates.ToldOn, 5_000, 1_000_000);
    }

    [Fact]
    public void A_case_is_the_same_whenever_it_is_made()
    {
        var source = new FuzzSource(FuzzCorpus.Made(), 7);
        string first = source.Make(12345).ToString();
        for (int i = 0; i < 100; i++) source.Make(i);
        Assert.Equal(first, source.Make(12345).ToString());
        Assert.NotEqual(first, source.Make(12346).ToString());
        Assert.Equal(first, FuzzCase.Parse(first).ToString());
    }
}
