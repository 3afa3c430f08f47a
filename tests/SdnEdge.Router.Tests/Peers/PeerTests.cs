using SdnEdge.Testing;
using Xunit;

namespace SdnEdge.Router.Tests.Peers;

/// <summary>
/// The matrix of docs/peers.md, tried: real sessions with each peer, one class each so that they run side by side.
/// <c>./build.sh peers</c> rewrites the document from what is found; without it the guarded sessions and the
/// restarts are left out, for their time, and keep their cells.
/// </summary>
public abstract class PeerTests
{
    // The reasons of cells that say no: make, role, feature -> footnote.
    private static readonly Dictionary<(string Make, string Role, string Feature), string> Known = [];

    private protected static void Matrix(string make, bool reflect)
    {
        string role = reflect ? "reflector" : "ingress";
        var run = new MatrixRun(make, reflect, whole: PeerMatrix.Updates);
        Dictionary<string, Answer> answers = run.Run().ToDictionary(
            a => a.Key, a => a.Value.Verdict == Verdict.No
                && Known.TryGetValue((make, role, a.Key), out string? why) ? a.Value with { Why = why } : a.Value);
        string name = PeerDaemon.NameOf(make);
        Assert.True(answers.Values.All(a => a.Verdict != Verdict.No || a.Why is not null),
            $"{name}, {role}:\n{string.Join('\n', run.Failures)}");
        string row = PeerMatrix.Row(name, role, answers);
        if (PeerMatrix.Updates) PeerMatrix.Write(name, role, row);
        Assert.Equal(PeerMatrix.Documented(name, role), row);
    }
}

/// <summary>FRR.</summary>
public sealed class FrrMatrixTests : PeerTests
{
    [RootFact]
    public void FRR_as_ingress_does_what_the_matrix_says() => Matrix("frr", reflect: false);

    [RootFact]
    public void FRR_as_reflector_does_what_the_matrix_says() => Matrix("frr", reflect: true);
}

/// <summary>BIRD.</summary>
public sealed class BirdMatrixTests : PeerTests
{
    [RootFact]
    public void BIRD_as_ingress_does_what_the_matrix_says() => Matrix("bird", reflect: false);

    [RootFact]
    public void BIRD_as_reflector_does_what_the_matrix_says() => Matrix("bird", reflect: true);
}

/// <summary>GoBGP.</summary>
public sealed class GobgpMatrixTests : PeerTests
{
    [RootFact]
    public void GoBGP_as_ingress_does_what_the_matrix_says() => Matrix("gobgp", reflect: false);

    [RootFact]
    public void GoBGP_as_reflector_does_what_the_matrix_says() => Matrix("gobgp", reflect: true);
}

/// <summary>ExaBGP.</summary>
public sealed class ExabgpMatrixTests : PeerTests
{
    [RootFact]
    public void ExaBGP_as_ingress_does_what_the_matrix_says() => Matrix("exabgp", reflect: false);

    [RootFact]
    public void ExaBGP_as_reflector_does_what_the_matrix_says() => Matrix("exabgp", reflect: true);
}

/// <summary>OpenBGPD.</summary>
public sealed class OpenbgpdMatrixTests : PeerTests
{
    [RootFact]
    public void OpenBGPD_as_ingress_does_what_the_matrix_says() => Matrix("openbgpd", reflect: false);

    [RootFact]
    public void OpenBGPD_as_reflector_does_what_the_matrix_says() => Matrix("openbgpd", reflect: true);
}
