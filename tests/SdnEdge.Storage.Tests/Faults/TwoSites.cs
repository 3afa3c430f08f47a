using SdnEdge.Core.Replication;
using SdnEdge.Storage.Service;
using SdnEdge.Testing;

namespace SdnEdge.Storage.Tests.Faults;

/// <summary>The two copies of a volume: store-a owns it, store-b follows.</summary>
internal sealed class TwoSites : IAsyncDisposable
{
    private static readonly ClientIdentity s_guest = ClientIdentity.Certificate("guest");

    private readonly string _folder = Directory.CreateTempSubdirectory("sdnedge-pair-").FullName;

    public TwoSites(ReplicationPolicy? policy = null)
    {
        A = new PairSite("store-a", "store-b", isOwner: true, Directory.CreateDirectory(Path.Combine(_folder, "a")).FullName, policy);
        B = new PairSite("store-b", "store-a", isOwner: false, Directory.CreateDirectory(Path.Combine(_folder, "b")).FullName, policy);
    }

    public PairSite A { get; }

    public PairSite B { get; }

    /// <summary>Makes and starts both; the client may write.</summary>
    public async Task StartAsync(int seed)
    {
        A.Create(seed);
        B.Create(seed + 1);
        StartB();
        StartA();
        _ = await A.Replicated!.OrderAsync(OwnershipOrderKind.Grant, 1, s_guest, 1, null, default).WaitAsync(Patience.Time);
    }

    public void StartA() => A.Start(cancel => B.AcceptAsync(A, cancel));

    public void StartB() => B.Start(_ => throw new IOException("a copy connects to nobody"));

    /// <summary>The volume as its client has it.</summary>
    public ClientView Client() => new(A.Replicated!, s_guest);

    public async ValueTask DisposeAsync()
    {
        await A.DisposeAsync();
        await B.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }
}
